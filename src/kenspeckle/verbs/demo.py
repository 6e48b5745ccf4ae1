"""`demo`: the whole way on images that come with scikit-learn, with two faults planted."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from kenspeckle.answer import Finding
from kenspeckle.files import write_bytes
from kenspeckle.verbs.explain import explain
from kenspeckle.verbs.model import Model, packaged
from kenspeckle.verbs.progress import Tell, quiet
from kenspeckle.verbs.train import train

EPOCHS = 12


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Args:
        digits: the folder of digit images, one folder a class.
        model: trained on them.
        findings: of the planted faults.
        photographs: name -> what the packaged network says, and its picture.
    """

    digits: Path
    model: Model
    findings: list[Finding]
    photographs: dict[str, tuple[str, Path]]
    report: Path


def demo(folder: Path, tell: Tell = quiet) -> Demo:
    """Digits to a trained CNN and its report; two photographs to answers with heat maps."""
    digits = folder / "digits"
    write_digits(digits)
    plant_faults(digits)
    run = folder / "run"
    settings = {"model": "seed-cnn", "training.epochs": EPOCHS}
    model = train(digits, settings=settings, folder=run, tell=tell)
    findings = [Finding(**found) for found in model.bundle.report["findings"]]
    return Demo(digits, model, findings, photographs(folder), run / "report.html")


def write_digits(folder: Path) -> None:
    """The 1797 scanned digits of scikit-learn (8 x 8, UCI) as PNG files in class folders."""
    scans = load_digits()
    for i, (image, digit) in enumerate(zip(scans.images, scans.target, strict=True)):
        pixels = np.round(image * (255 / 16)).astype(np.uint8)
        write_bytes(folder / str(digit) / f"scan{i:04}.png", _png(pixels))


def plant_faults(folder: Path) -> None:
    """A copy of a 3 among the 8s, and a file that breaks off in the middle."""
    three = sorted((folder / "3").glob("scan*.png"))[0].read_bytes()
    write_bytes(folder / "8" / "planted-copy-of-a-3.png", three)
    write_bytes(folder / "5" / "planted-broken.png", three[: len(three) // 2])


def photographs(folder: Path) -> dict[str, tuple[str, Path]]:
    """The packaged network's answers for two photographs, each with a Grad-CAM picture."""
    model, told = packaged(), {}
    samples = load_sample_images()
    for name, pixels in zip(samples.filenames, samples.images, strict=True):
        stem = Path(name).stem
        photograph = folder / "photographs" / f"{stem}.png"
        write_bytes(photograph, _png(pixels))
        picture = folder / "photographs" / f"{stem}-explained.png"
        told[stem] = (explain(model, photograph, picture).words, picture)
    return told


def _png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
