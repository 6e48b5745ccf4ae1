"""Claim: CNN, recurrent network and Transformer each learn a real job from scratch on two cores.

| on | reach |
|---|---|
| mnist: `lstm`; `transformer`, <= 15 minutes | >= 98.5 %; >= 98.5 % |
| fashion-mnist: `cnn`, <= 15 minutes | >= 92.5 % |
| omniglot strokes, 136 characters, drawers 1 to 15 to learn and 16 to 20 to test | GRU >= 70 % |
| dates in words to ISO dates: `seed-transformer`, <= 10 minutes | >= 99 % exact |

Each is one `ken train` as a whole process, with the seed and settings that a row keeps; the test
part is opened once. Run: `python benchmarks/families.py [ROW ...]`.
"""

from __future__ import annotations

import datetime
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import DATA, Row, Store, ken, ran, table, unpacked, work_folder

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ENDS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
PAIRS = 12_000


@dataclass(frozen=True)
class Run:
    """One training: its data, what is said to `ken train`, and what it should reach."""

    data: Callable[[], Path]
    options: tuple[str, ...]
    score: str = "accuracy_score"
    goal: float | None = None
    minutes: float | None = None


def omniglot() -> Path:
    """Pen strokes as train/ALPHABET/CHARACTER and test/...; a file's name ends in its drawer."""
    folder = work_folder() / "data" / "omniglot-by-drawer"
    if folder.exists():
        return folder
    strokes = unpacked("omniglot/strokes_background_small1")
    partial = folder.with_name("omniglot-by-drawer.partial")
    for file in sorted(strokes.rglob("*.txt")):
        part = "train" if int(file.stem.rpartition("_")[2]) <= 15 else "test"
        place = partial / part / file.parent.relative_to(strokes) / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    partial.rename(folder)
    return folder


def dates() -> Path:
    """12 000 different dates of 1950 to 2049 in six ways of writing, made with seed 0."""
    path = work_folder() / "data" / "dates.tsv"
    chance, pairs = random.Random(0), set()
    while len(pairs) < PAIRS:
        day = datetime.date(1950, 1, 1) + datetime.timedelta(days=chance.randrange(36_500))
        pairs.add((in_words(day, chance.randrange(6)), day.isoformat()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{given}\t{wanted}\n" for given, wanted in sorted(pairs)))
    return path


def in_words(day: datetime.date, way: int) -> str:
    """A date as people write it; ways 0 to 5.

    >>> in_words(datetime.date(1999, 5, 3), 2)
    'the 3rd of May 1999'
    """
    month, weekday = MONTHS[day.month - 1], DAYS[day.weekday()]
    return (
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"the {day.day}{ENDS.get(day.day, 'th')} of {month} {day.year}",
        f"{weekday}, {day.day} {month[:3]} {day.year}",
        f"{month[:3]} {day.day} '{day.year % 100:02}",
        f"{day.day:02}.{day.month:02}.{day.year}",
    )[way]


def _shared(name: str) -> Callable[[], Path]:
    return lambda: DATA / name


def _strokes(model: str, goal: float | None = None) -> Run:
    return Run(omniglot, ("--model", model, "--epochs", "40", "--patience", "8"), goal=goal)


RUNS = {
    "dates seed-transformer": Run(
        dates, ("--task", "translate", "--epochs", "10"), "exact_match_score", 0.99, 10
    ),
    "fashion-mnist cnn": Run(
        _shared("fashion-mnist"), ("--model", "cnn", "--budget", "14m"), goal=0.925, minutes=15
    ),
    "mnist transformer": Run(
        _shared("mnist"), ("--model", "transformer", "--budget", "14m"), goal=0.985, minutes=15
    ),
    "mnist lstm": Run(_shared("mnist"), ("--model", "lstm", "--epochs", "5"), goal=0.985),
    "omniglot gru": _strokes("gru", 0.70),
    "omniglot rnn": _strokes("rnn"),
    "omniglot lstm": _strokes("lstm"),
    "omniglot transformer": _strokes("transformer"),
}


def measured(name: str, run: Run) -> Row:
    """The score with its interval, and what the whole command took."""
    runs = work_folder() / "runs"
    place = name.replace(" ", "-")
    told = ("--project", runs, "--name", place, "--exist-ok", "--quiet")
    done = ran(ken("train", run.data(), *run.options, *told))
    if done.code:
        sys.exit(f"{name}: ken train ended with {done.code}: {done.output}")
    report = json.loads((runs / place / "report.json").read_text("utf-8"))
    return {
        **done.as_row(),
        "options": list(run.options),
        "score": report["scores"][run.score],
        "epochs": len(report["history"]),
        "gradients": report["model"]["gradients"],
        "augmentation": report.get("augmentation", []),
        "overfitting": report["overfitting"]["verdict"],
    }


def met(run: Run, row: Row) -> bool | None:
    """Whether the goal was reached; None where there was none."""
    if run.goal is None:
        return None
    in_time = run.minutes is None or row["wall_s"] <= 60 * run.minutes
    return bool(row["score"]["value"] >= run.goal and in_time)


def main() -> None:
    store = Store("families", __doc__ or "")
    chosen = sys.argv[1:] or list(RUNS)
    rows = {n: store.row(n, lambda n=n: measured(n, RUNS[n])) for n in chosen}  # type: ignore[misc]
    ends = ("value", "low", "high")
    cells = [
        (
            n,
            *(100 * r["score"][e] for e in ends),
            r["score"]["n"],
            r["wall_s"] / 60,
            met(RUNS[n], r),
        )
        for n, r in rows.items()
    ]
    table([("run", "score", "low", "high", "n", "minutes", "met"), *cells])
    known = {n: r for n, r in store.rows.items() if n in RUNS}
    store.conclude({n: {"score": r["score"], "met": met(RUNS[n], r)} for n, r in known.items()})


if __name__ == "__main__":
    main()
