"""Claim: every other job goes through the same waist, thin but real, in minutes on two cores.

| job, data | reach, after at most 15 minutes of training |
|---|---|
| read, captcha5 | >= 80 % exact with CTC (n = 156); the decoder beside it |
| read, strings of 1 to 8 MNIST digits made on the fly | >= 95 % exact |
| watch, fight-clips | above the majority class with its interval; mean, LSTM and Transformer |
| detect, bccd-blood-cells, five folds over 100 images | AP50 >= 0.5; counting error reported |
| match, orl-faces, 20 people never seen | AUC >= 97 %, rank-1 >= 95 % |
| generate, mnist, 20 minutes, a recogniser that learned from drawn images only | >= 93 % |
| generate, fashion-mnist, 30 minutes | >= 72 % |

Each row is one `ken train` as a whole process, with the seed and settings that the row keeps. Folds
give their own images as test part. Run: `python benchmarks/breadth.py [ROW ...]`.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench import DATA, Row, Store, ken, ran, table, unpacked, work_folder
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.data.dataset import Sample
from kenspeckle.data.scan import scan
from kenspeckle.data.source import ArrayRow

FOLDS = 5
SEEDS = range(3)
STRINGS, LONGEST = {"train": 20_000, "test": 1000}, 8


@dataclass(frozen=True)
class Run:
    """One training: its data, what is said to `ken train`, and what it should reach."""

    data: Callable[[], Path]
    options: tuple[str, ...]
    score: str
    goal: float | None = None


def digit_strings() -> Path:
    """Strips of 1 to 8 MNIST digits side by side; test strings are made of test digits alone."""
    folder = work_folder() / "data" / "digit-strings-20000"
    if folder.exists():
        return folder
    partial, random = folder.with_name("digit-strings-20000.partial"), np.random.default_rng(0)
    partial.mkdir(parents=True, exist_ok=True)
    rows = [("file", "text", "split")]
    digits = scan(DATA / "mnist").samples
    for part, count in STRINGS.items():
        own = [sample for sample in digits if sample.split == part]
        for i in range(count):
            chosen = [own[k] for k in random.integers(0, len(own), random.integers(1, LONGEST + 1))]
            strip = np.concatenate([_pixels(sample) for sample in chosen], axis=1)
            name = f"{part}{i:05}.png"
            Image.fromarray(strip).save(partial / name)
            rows.append((name, "".join(str(sample.label) for sample in chosen), part))
    with (partial / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    partial.rename(folder)
    return folder


def _pixels(sample: Sample) -> NDArray[np.uint8]:
    assert isinstance(sample.source, ArrayRow)
    return sample.source.pixels()[..., 0]


def _shared(name: str) -> Callable[[], Path]:
    return lambda: unpacked(name)


def _fold(number: int) -> Run:
    """Every fifth image is the test part, given as a split that `ken train --split` reads."""

    def data() -> Path:
        cells = unpacked("bccd-blood-cells")
        path = work_folder() / "data" / f"bccd-fold-{number}.csv"
        images = sorted((cells / "images").iterdir())
        order = np.random.default_rng(1).permutation(len(images))
        parts = [
            (f"images/{images[row].name}", "test" if place % FOLDS == number else "train")
            for place, row in enumerate(order)
        ]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("filename", "split"), *sorted(parts)])
        return cells

    split = str(work_folder() / "data" / f"bccd-fold-{number}.csv")
    options = ("--task", "detect", "--split", split, "--budget", "14m")
    return Run(data, options, "average_precision_50_score", 0.5)


def _generate(name: str, minutes: int, seed: int, goal: float) -> Run:
    options = ("--task", "generate", "--budget", f"{minutes}m", "--seed", str(seed))
    return Run(lambda: DATA / name, options, "train_on_generated_score", goal)


def _watch(model: str) -> Run:
    return Run(_shared("fight-clips"), ("--task", "watch", "--model", model), "accuracy_score", 0.5)


RUNS = {
    "captcha5 ctc": Run(
        _shared("captcha5"), ("--task", "read", "--budget", "14m"), "exact_match_score", 0.8
    ),
    "captcha5 decoder": Run(
        _shared("captcha5"),
        ("--task", "read", "--head", "decoder", "--budget", "14m"),
        "exact_match_score",
    ),
    "digit strings ctc": Run(
        digit_strings, ("--task", "read", "--budget", "14m"), "exact_match_score", 0.95
    ),
    **{f"fight-clips {model}": _watch(model) for model in ("mean", "lstm", "transformer")},
    **{f"bccd fold {number}": _fold(number) for number in range(FOLDS)},
    "orl-faces": Run(
        _shared("orl-faces"),
        ("--task", "match", "--set", "data.test_share=0.5"),
        "roc_auc_score",
        0.97,
    ),
    **{f"mnist drawn, seed {seed}": _generate("mnist", 20, seed, 0.93) for seed in SEEDS},
    **{f"fashion drawn, seed {seed}": _generate("fashion-mnist", 30, seed, 0.72) for seed in SEEDS},
}


def measured(name: str, run: Run) -> Row:
    """All scores with their intervals, and what the whole command took."""
    runs = work_folder() / "runs"
    place = name.replace(" ", "-")
    told = ("--project", runs, "--name", place, "--exist-ok", "--quiet")
    done = ran(ken("train", run.data(), *run.options, *told))
    if done.code:
        sys.exit(f"{name}: ken train ended with {done.code}: {done.output}")
    report = json.loads((runs / place / "report.json").read_text("utf-8"))
    return {
        **done.as_row(),
        "options": [Path(o).name if o.startswith("/") else o for o in run.options],
        "scores": report["scores"],
        "sentence": report["sentence"],
        "epochs": len(report["history"]),
        "majority_share": report.get("majority_share"),
    }


def met(run: Run, row: Row) -> bool | None:
    """Whether the goal was reached; None where there was none."""
    if run.goal is None:
        return None
    return bool(row["scores"][run.score]["value"] >= run.goal)


def main() -> None:
    store = Store("breadth", __doc__ or "")
    chosen = sys.argv[1:] or list(RUNS)
    rows = {n: store.row(n, lambda n=n: measured(n, RUNS[n])) for n in chosen}  # type: ignore[misc]
    cells = []
    for name, row in rows.items():
        score = row["scores"][RUNS[name].score]
        ends = (100 * score[end] for end in ("value", "low", "high"))
        cells.append((name, *ends, score["n"], row["wall_s"] / 60, met(RUNS[name], row)))
    table([("run", "score", "low", "high", "n", "minutes", "met"), *cells])
    known = {n: r for n, r in store.rows.items() if n in RUNS}
    store.conclude(
        {n: {"score": r["scores"][RUNS[n].score], "met": met(RUNS[n], r)} for n, r in known.items()}
    )


if __name__ == "__main__":
    main()
