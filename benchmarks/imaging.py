"""Claim: images are mended and compressed by what was learned from other images, on two cores.

| job, data | reach |
|---|---|
| restore, Kodak with noise 25, 30 minutes on other photos | >= non-local means + 1 dB, <= 4 CPU s |
| the same model, Kodak as JPEG of quality 10 | >= 0.5 dB over the decoded JPEG |
| compress, gtsrb, after 15 minutes on its training part | BD-rate <= -30 % against JPEG |
| compress, Kodak, after 15 minutes on other photos | reported |
| 200 streams, each byte changed, and each cut at every place | all refused |

The photos are those of imagenet-1-per-class, flowers5, grocery-hierarchy and pacs-photo-sketch,
halved, so that marks of their JPEG are gone. Noise is added to 8-bit pixels and cut off at 0 and
255, from a seed that is the image's number. Non-local means are scikit-image's, which is told the
noise; ours estimates it. Install scikit-image beside: `pip install scikit-image`.
Run: `python benchmarks/imaging.py [ROW ...]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench import Row, Store, ken, ran, table, unpacked, work_folder
from numpy.typing import NDArray
from PIL import Image

import kenspeckle
from kenspeckle.data.formats import psnr, written
from kenspeckle.data.stream import CorruptStream
from kenspeckle.data.stream import unpacked as read_stream
from kenspeckle.models.codec import bd_rate, compressed, decompressed
from kenspeckle.verbs.restore import restore

PHOTOS = ("imagenet-1-per-class", "flowers5", "grocery-hierarchy", "pacs-photo-sketch")
SIGMA, JPEG = 25.0, 10
QUALITIES = {
    "ours": (1, 15, 30, 45, 60, 75, 90, 100),
    "jpeg": (5, 10, 20, 35, 50, 70, 85, 92, 96),
    "webp": (2, 10, 30, 50, 70, 85, 95),
}
STREAMS = 200
Pixels = NDArray[np.uint8]


def photos() -> Path:
    """Every photograph of the sets, halved, as PNG."""
    folder = work_folder() / "data" / "photos-halved"
    if folder.exists():
        return folder
    partial = folder.with_name("photos-halved.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        files = sorted(unpacked(name).rglob("*.jpg"))
        for number, file in enumerate(f for f in files if "sketch" not in f.parts):
            with Image.open(file) as image:
                image.convert("RGB").reduce(2).save(partial / f"{name}-{number:04}.png")
    partial.rename(folder)
    return folder


def signs() -> Path:
    return unpacked("gtsrb-signs")


def trained(task: str, data: Path, minutes: int) -> tuple[kenspeckle.Model, Row]:
    """A model of one `ken train` that the budget ends, and what the whole process took."""
    runs, name = work_folder() / "runs", f"{task}-{data.name}"
    limit = ("--budget", f"{minutes}m", "--epochs", "1000")
    options = ("--task", task, *limit, "--quiet", "--exist-ok")
    done = ran(ken("train", data, *options, "--project", runs, "--name", name))
    if done.code:
        sys.exit(f"{name}: ken train ended with {done.code}: {done.output}")
    file = runs / name / "weights" / "best.ken"
    return kenspeckle.load(file), {**done.as_row(), "model_bytes": file.stat().st_size}


def kodak() -> list[Pixels]:
    return [pixels(file) for file in sorted(unpacked("kodak-odd").rglob("*.png"))]


def pixels(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def interval(values: NDArray[np.float64]) -> Row:
    """Mean and a 95 % interval from images drawn again (2000 times)."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": values.mean(), "low": low, "high": high, "n": len(values)}


def restored() -> Row:
    """Mended noise and mended JPEG on Kodak, beside non-local means and the JPEG itself."""
    try:
        from skimage.restoration import denoise_nl_means
    except ImportError:
        sys.exit("scikit-image is not installed; `pip install scikit-image` brings it.")
    model, took = trained("restore", photos(), 30)
    columns: dict[str, list[float]] = {
        name: [] for name in ("noisy", "non_local", "ours", "jpeg", "ours_jpeg", "inside")
    }
    seconds: list[float] = []
    for number, clean in enumerate(kodak()):
        noise = np.random.default_rng(number).normal(0, SIGMA, clean.shape)
        noisy = np.clip(np.round(clean + noise), 0, 255).astype(np.uint8)
        options = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": 2}
        share = SIGMA / 255
        other = denoise_nl_means(noisy / 255, h=0.8 * share, sigma=share, **options)
        file = work_folder() / "noisy.png"
        Image.fromarray(noisy).save(file)
        began = time.process_time()
        mended = restore(model, file)
        seconds.append(time.process_time() - began)
        off = np.abs(mended.pixels.astype(float) - clean).mean(2)
        columns["inside"].append(float((off <= 1.645 * mended.deviation).mean()))
        columns["noisy"].append(psnr(clean, noisy))
        columns["non_local"].append(psnr(clean, np.round(other.clip(0, 1) * 255).astype(np.uint8)))
        columns["ours"].append(psnr(clean, mended.pixels))
        marked = written(clean, "jpeg", JPEG)
        file = work_folder() / "marked.jpg"
        file.write_bytes(marked.content)
        columns["jpeg"].append(marked.psnr)
        columns["ours_jpeg"].append(psnr(clean, restore(model, file, sigma=0.0).pixels))
    found = {name: np.array(values) for name, values in columns.items()}
    return {
        **took,
        "psnr": {name: values.mean() for name, values in found.items() if name != "inside"},
        "gain_over_non_local": interval(found["ours"] - found["non_local"]),
        "gain_over_jpeg": interval(found["ours_jpeg"] - found["jpeg"]),
        "inside_90": interval(found["inside"]),
        "cpu_s_an_image": float(np.mean(seconds)),
    }


def coded(data: Callable[[], Path], tested: Callable[[], list[Pixels]]) -> Row:
    """Bytes of whole files against PSNR, ours beside JPEG and WebP; BD-rates image by image."""
    model, took = trained("compress", data(), 15)
    images = tested()
    curves = {name: [curve(model, image, name) for image in images] for name in QUALITIES}
    rates: Row = {}
    for name in ("jpeg", "webp"):
        pairs = zip(curves[name], curves["ours"], strict=True)
        each = np.array([bd_rate(*other, *ours) for other, ours in pairs])
        rates[name] = {**interval(each[np.isfinite(each)]), "of": len(images)}
    means = {name: np.array(of).mean(0).tolist() for name, of in curves.items()}
    return {**took, "bd_rate": rates, "bytes_and_psnr": means}


def curve(model: kenspeckle.Model, image: Pixels, name: str) -> tuple[list[float], list[float]]:
    """Bytes and PSNR of one image at each quality."""
    sizes, likeness = [], []
    for quality in QUALITIES[name]:
        if name == "ours":
            content = compressed(model.network, image, quality)  # type: ignore[arg-type]
            sizes.append(float(len(content)))
            likeness.append(psnr(image, decompressed(model.network, content)))  # type: ignore[arg-type]
        else:
            file = written(image, name, quality)
            sizes.append(float(len(file.content)))
            likeness.append(file.psnr)
    return sizes, likeness


def held_signs() -> list[Pixels]:
    return [pixels(file) for file in sorted((signs() / "test").rglob("*.ppm"))[::2]]


def damaged() -> Row:
    """Every byte of 200 streams changed once, and each stream cut at every place."""
    file = work_folder() / "runs" / "compress-gtsrb-signs" / "weights" / "best.ken"
    network, images = kenspeckle.load(file).network, held_signs()
    random, tried, passed = np.random.default_rng(0), 0, 0
    for number in range(STREAMS):
        image = images[number % len(images)]
        content = compressed(network, image, int(random.integers(1, 101)))  # type: ignore[arg-type]
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= int(random.integers(1, 256))
            for wrong in (bytes(changed), content[:place]):
                tried += 1
                try:
                    read_stream(wrong)
                    passed += 1
                except CorruptStream:
                    pass
    return {"tried": tried, "passed": passed}


ROWS: dict[str, Callable[[], Row]] = {
    "restore": restored,
    "compress gtsrb": lambda: coded(signs, held_signs),
    "compress kodak": lambda: coded(photos, kodak),
    "damage": damaged,
}


def main() -> None:
    store = Store("imaging", __doc__ or "")
    for name in sys.argv[1:] or ROWS:
        store.row(name, ROWS[name])
    rows = store.rows
    told: list[tuple[str, str, float, bool | None]] = []
    if "restore" in rows:
        row = rows["restore"]
        for key, least in (("gain_over_non_local", 1.0), ("gain_over_jpeg", 0.5)):
            told.append(("restore", key, row[key]["value"], row[key]["value"] >= least))
        told.append(
            ("restore", "CPU s an image", row["cpu_s_an_image"], row["cpu_s_an_image"] <= 4)
        )
    for name in ("compress gtsrb", "compress kodak"):
        for other, rate in rows.get(name, {}).get("bd_rate", {}).items():
            goal = rate["value"] <= -30 if (name, other) == ("compress gtsrb", "jpeg") else None
            told.append((name, f"BD-rate against {other}, %", rate["value"], goal))
    if "damage" in rows:
        told.append(("damage", "passed", rows["damage"]["passed"], rows["damage"]["passed"] == 0))
    table([("row", "measure", "value", "met"), *told])
    store.conclude(
        {
            f"{row}, {measure}": [float(value), met if met is None else bool(met)]
            for row, measure, value, met in told
        }
    )


if __name__ == "__main__":
    main()
