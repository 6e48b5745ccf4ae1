"""Claim: what people know of kinds makes mistakes milder, at no cost in right answers.

| few images a class, all defaults, paired | reach |
|---|---|
| traffic signs (43), shape and colour of each told | mistakes of another shape or colour halved |
| CIFAR-10, animal or vehicle told | mistakes of the other side halved |
| groceries (22), kind (6) told | mistakes of another kind halved |
| all of them | right answers not fewer beyond noise |

Each pair is one `kenspeckle.train` on the same 5 or 20 images a class without rules, and one under
a rules file with the attributes. Tests are the sets' own (2000 of CIFAR-10's); the groceries, 8
images a class, are cross-validated on all. Five seeds of the draw.
Run: `python benchmarks/kinds.py [--seeds N] [ROW ...]`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from bench import Row, Store, t_interval, table, unpacked, work_folder

import kenspeckle

SHAPES = ("triangle", "circle", "diamond", "octagon", "upside down")
COLOURS = ("red", "blue", "yellow", "white", "other")
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
Rows = list[tuple[str, str, str, str]]  # file, label, group, part


def signs() -> tuple[Path, Rows, dict[str, dict[str, str]]]:
    folder = unpacked("gtsrb-signs")
    with (folder / "classes.csv").open() as file:
        looks = {
            row["SignName"]: {
                "shape": SHAPES[int(row["ShapeId"])],
                "colour": COLOURS[int(row["ColorId"])],
            }
            for row in csv.DictReader(file)
        }
    with (folder / "labels.csv").open() as file:
        rows = [(r["file"], r["sign_name"], r["track"], r["split"]) for r in csv.DictReader(file)]
    return folder, rows, looks


def cifar() -> tuple[Path, Rows, dict[str, dict[str, str]]]:
    folder = unpacked("cifar10")
    rows = []
    for part in ("train", "test"):
        for file in sorted((folder / part).glob("*/*.jpg"))[::5]:
            path = file.relative_to(folder).as_posix()
            rows.append((path, file.parent.name, path, part))
    names = {row[1] for row in rows}
    looks = {n: {"side": "animal" if n in ANIMALS else "vehicle"} for n in names}
    return folder, rows, looks


def groceries() -> tuple[Path, Rows, dict[str, dict[str, str]]]:
    folder = unpacked("grocery-hierarchy")
    with (folder / "labels.csv").open() as file:
        read = list(csv.DictReader(file))
    rows = [(r["file"], r["fine_class"], r["file"], "") for r in read]
    return folder, rows, {r["fine_class"]: {"kind": r["coarse_class"]} for r in read}


SETS = {"signs": signs, "cifar": cifar, "groceries": groceries}
ROWS = {
    "signs, 5 a class": ("signs", 5),
    "signs, 20 a class": ("signs", 20),
    "cifar, 5 a class": ("cifar", 5),
    "cifar, 20 a class": ("cifar", 20),
    "groceries": ("groceries", 0),
}


def rules_of(looks: Mapping[str, Mapping[str, str]]) -> str:
    def quoted(name: str) -> str:
        return "'" + name.replace("'", "''") + "'"

    lines = ["ken-rules: 1", "classes:", *(f"  - {quoted(name)}" for name in sorted(looks))]
    lines.append("attributes:")
    for key in next(iter(looks.values())):
        values = sorted({look[key] for look in looks.values()})
        told = ", ".join(f"{quoted(name)}: {quoted(look[key])}" for name, look in looks.items())
        options = ", ".join(quoted(value) for value in values)
        lines.append(f"  {key}: {{one of: [{options}], values: {{{told}}}}}")
    return "\n".join(lines) + "\n"


def tried(name: str, each: int, seed: int) -> Row:
    folder, rows, looks = SETS[name]()
    random = np.random.default_rng(seed)
    chosen = rows
    if each:
        order = random.permutation([i for i, row in enumerate(rows) if row[3] == "train"]).tolist()
        few = [i for leaf in looks for i in [j for j in order if rows[j][1] == leaf][:each]]
        chosen = [*(rows[i] for i in few), *(row for row in rows if row[3] == "test")]
    file = folder / f"kinds-{each}-{seed}.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("file", "label", "group", "split"), *chosen])
    rules = work_folder() / f"{name}.yaml"
    rules.write_text(rules_of(looks))
    found: Row = {}
    for way in ("flat", "ruled"):
        model = kenspeckle.train(
            file, rules=rules if way == "ruled" else None, settings={"data.seed": seed}
        )
        report = model.bundle.report
        counts = np.array(report["confusion"])
        kinds = np.array([" ".join(looks[leaf].values()) for leaf in model.classes])
        found[way] = {
            "accuracy": float(np.trace(counts) / counts.sum()),
            "wrong_kind": float(counts[kinds[:, None] != kinds].sum() / counts.sum()),
            "calibration_error": report["scores"]["calibration_error"]["value"],
            "head": report["model"]["head"],
        }
    found["heard"] = not model.task.is_muted
    file.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    store, told, summary = Store("kinds", __doc__ or ""), [], {}
    for name in asked.rows:
        runs = [
            store.row(f"{name}, seed {seed}", partial(tried, *ROWS[name], seed))
            for seed in range(asked.seeds)
        ]
        flat, ruled = (
            {key: np.array([run[way][key] for run in runs]) for key in ("accuracy", "wrong_kind")}
            for way in ("flat", "ruled")
        )
        gain = t_interval(100 * (ruled["accuracy"] - flat["accuracy"]))
        left = float(ruled["wrong_kind"].mean() / max(1e-9, flat["wrong_kind"].mean()))
        summary[name] = {
            "accuracy": [float(one["accuracy"].mean()) for one in (flat, ruled)],
            "gain": gain,
            "wrong_kind": [float(one["wrong_kind"].mean()) for one in (flat, ruled)],
            "heard": int(sum(run["heard"] for run in runs)),
            "met": bool(gain["high"] >= 0 and left <= 0.5),
        }
        told.append((name, *summary[name]["accuracy"], gain["low"], gain["high"], left))
    table([("row", "flat", "ruled", "gain at least", "at most", "wrong kind left"), *told])
    store.conclude(summary)


if __name__ == "__main__":
    main()
