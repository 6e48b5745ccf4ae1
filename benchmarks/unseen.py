"""Claim: classes without a single image are recognised by what is said of their looks.

| rendered signs of 4 shapes, 3 colours and 4 symbols; 8 of the 48 have no image | reach |
|---|---|
| images of these 8, named among all 48 classes | >= 90 % |
| images of the other 40 | reported, and the harmonic mean of both |

Signs are drawn with chance in size, place, angle, colour, background and noise, 64 pixels a side,
20 a class to learn from. One `kenspeckle.train` with a rules file that says shape, colour and
symbol of each class, all defaults; five seeds, each with signs and missing classes of its own. An
answer that is refused as unlike all training images counts by its likeliest class, and how many are
is reported.
Run: `python benchmarks/unseen.py [--seeds N]`.
"""

from __future__ import annotations

import argparse
import math
import shutil
from itertools import product
from pathlib import Path

import numpy as np
from bench import Row, Store, t_interval, table, work_folder
from PIL import Image, ImageDraw

import kenspeckle

SHAPES = {"circle": 0, "triangle": 3, "square": 4, "octagon": 8}  # corners
COLOURS = {"red": (200, 30, 35), "blue": (25, 70, 180), "yellow": (235, 190, 20)}
SYMBOLS = ("arrow", "bar", "cross", "dot")
SIDE, EACH, TESTED, MISSING = 64, 20, 20, 8


def sign(shape: str, colour: str, symbol: str, random: np.random.Generator) -> Image.Image:
    """One sign, at four times its size and brought down."""
    side = 4 * SIDE
    ground = random.integers(20, 235, 3)
    fade = np.linspace(-40, 40, side)[:, None, None] * random.uniform(-1, 1)
    back = np.broadcast_to(ground + fade, (side, side, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(back.copy())
    pen = ImageDraw.Draw(image)
    radius = side * random.uniform(0.3, 0.44)
    x, y = side / 2 + random.uniform(-0.06, 0.06, 2) * side
    tilt = random.uniform(-0.15, 0.15)
    paint = tuple((np.array(COLOURS[colour]) + random.integers(-25, 26, 3)).clip(0, 255).tolist())
    corners = SHAPES[shape]
    if corners:
        begin = {3: -math.pi / 2, 4: math.pi / 4, 8: math.pi / 8}[corners] + tilt
        angles = [begin + 2 * math.pi * i / corners for i in range(corners)]
        pen.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles], paint)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), paint)
    ink, size = (250, 250, 250) if colour != "yellow" else (15, 15, 15), radius * 0.36
    wide = max(1, round(size * 0.4))

    def at(across: float, down: float) -> tuple[float, float]:
        c, s = math.cos(tilt), math.sin(tilt)
        return x + size * (across * c - down * s), y + size * (across * s + down * c)

    if symbol == "bar":
        pen.line((at(-1, 0), at(1, 0)), ink, wide)
    elif symbol == "dot":
        pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), ink)
    elif symbol == "cross":
        pen.line((at(-0.8, -0.8), at(0.8, 0.8)), ink, wide)
        pen.line((at(-0.8, 0.8), at(0.8, -0.8)), ink, wide)
    else:
        pen.line((at(0, 1), at(0, -0.6)), ink, wide)
        pen.polygon([at(-0.7, -0.2), at(0.7, -0.2), at(0, -1.1)], ink)
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).astype(float)
    noisy = small * random.uniform(0.7, 1.1) + random.normal(0, 8, small.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def missing(random: np.random.Generator) -> list[tuple[str, str, str]]:
    """Combinations without images, spread so that every value keeps most of its classes."""
    every = list(product(SHAPES, COLOURS, SYMBOLS))
    while True:
        chosen = [every[i] for i in random.choice(len(every), MISSING, replace=False)]
        counts = [
            max(sum(value in c for c in chosen) for value in part)
            for part in (SHAPES, COLOURS, SYMBOLS)
        ]
        if max(counts) <= 4:
            return chosen


def signs(seed: int) -> tuple[Path, set[str]]:
    """A folder with parts and a rules file; the names of the classes without images."""
    random = np.random.default_rng(seed)
    gone = {" ".join(reversed(combination)) for combination in missing(random)}
    folder = work_folder() / "data" / f"signs-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    classes, unseen = [], []
    values: dict[str, list[str]] = {"shape": [], "colour": [], "symbol": []}
    for combination in product(SHAPES, COLOURS, SYMBOLS):
        name = " ".join(reversed(combination))
        looks = dict(zip(values, combination, strict=True))
        for part, count in (("train", EACH), ("test", TESTED)):
            if part == "train" and name in gone:
                continue
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                sign(*combination, random).save(folder / part / name / f"{i:02}.png")
        if name in gone:
            told = ", ".join(f"{key}: {value}" for key, value in looks.items())
            unseen.append(f"  {name}: {{{told}}}")
        else:
            classes.append(f"  - {name}")
            for key, value in looks.items():
                values[key].append(f"{name}: {value}")
    attributes = [
        f"  {key}: {{one of: [{', '.join(options)}], values: {{{', '.join(values[key])}}}}}"
        for key, options in zip(values, (SHAPES, COLOURS, SYMBOLS), strict=True)
    ]
    text = ["ken-rules: 1", "classes:", *classes, "attributes:", *attributes, "unseen:", *unseen]
    (folder / "rules.yaml").write_text("\n".join(text) + "\n")
    return folder, gone


def tried(seed: int) -> Row:
    folder, gone = signs(seed)
    model = kenspeckle.train(folder, rules=folder / "rules.yaml")
    files = sorted((folder / "test").rglob("*.png"))
    answers = model.predict([str(file) for file in files])
    right: dict[bool, list[bool]] = {True: [], False: []}
    refused: dict[bool, list[bool]] = {True: [], False: []}
    for file, answer in zip(files, answers, strict=True):
        is_gone, likeliest = file.parent.name in gone, next(iter(answer.probabilities))
        right[is_gone].append(likeliest == file.parent.name)
        refused[is_gone].append(answer.label is None)
    unseen, seen = (100 * float(np.mean(right[which])) for which in (True, False))
    return {
        "unseen": unseen,
        "seen": seen,
        "harmonic": 2 * unseen * seen / max(1e-9, unseen + seen),
        "refused": [100 * float(np.mean(refused[which])) for which in (True, False)],
        "temperatures": [model.task.temperature, model.task.attribute_temperature],
        "head": model.bundle.report["model"].get("head"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    store = Store("unseen", __doc__ or "")
    rows = [store.row(f"seed {seed}", lambda s=seed: tried(s)) for seed in range(asked.seeds)]
    summary = {
        name: t_interval(row[name] for row in rows) for name in ("unseen", "seen", "harmonic")
    }
    table(
        [
            ("images of", "right", "low", "high"),
            *((n, s["mean"], s["low"], s["high"]) for n, s in summary.items()),
        ]
    )
    store.conclude({**summary, "met": bool(summary["unseen"]["mean"] >= 90)})


if __name__ == "__main__":
    main()
