"""Claim: the head that is chosen by cross-validation costs almost nothing against the best one.

On flowers5, sign-digits, scenes6 and CIFAR-10 at 5, 10 and 20 images a class, 10 draws each, on
packaged features: within 0.5 point of the best single head of the bank on average over the twelve
cells, nowhere below logistic regression beyond noise, and 3 points or more above it on sign-digits.
`--development` runs the sets on which the choosing rule was picked (chest-xray, orl-faces, gtsrb,
pacs), so that the two are never mixed.

Draws are of the train part; the test part is answered. Where a set is small (sign-digits, scenes6)
train images that were not drawn are answered too. "plain" is scikit-learn's LogisticRegression as
it comes, on the last features as they come. CIFAR-10 is 61 train and 100 test images a class, and
they are JPEG copies. Run: `python benchmarks/heads.py [--development]`.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from bench import Row, Store, Vectors, t_interval, table, unpacked, vectors_of
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from kenspeckle.recipe import Recipe
from kenspeckle.tasks.classify import Classify
from kenspeckle.training.bank import BANK
from kenspeckle.verbs.train_features import Bank

JUDGED = ("sign-digits", "flowers5", "scenes6-64px", "cifar10")
DEVELOPMENT = ("chest-xray", "orl-faces", "gtsrb-signs", "pacs-photo-sketch")
SMALL = ("sign-digits", "scenes6-64px")
DRAWS = 10
Ints = NDArray[np.int64]


def cifar_member(name: str) -> bool:
    """Every 83rd train image and every 10th test image of a class."""
    number = int(Path(name).stem)
    return number % (83 if "/train/" in name else 10) == 0


def vectors(name: str) -> Vectors:
    columns = {"gtsrb-signs": {"label": "class_id", "group": "track"}}.get(name)
    folder = unpacked(name, cifar_member) if name == "cifar10" else unpacked(name)
    return vectors_of(folder, columns)


def pool_and_test(data: Vectors, name: str) -> tuple[Ints, Ints]:
    """Rows to draw from and rows to answer; a set without parts is halved by class, seed 0."""
    if (data.parts == "train").any():
        return np.flatnonzero(data.parts == "train"), np.flatnonzero(data.parts == "test")
    rng = np.random.default_rng(0)
    halves = [rng.permutation(np.flatnonzero(data.targets == k)) for k in np.unique(data.targets)]
    test = np.sort(np.concatenate([rows[: len(rows) // 2] for rows in halves]))
    return np.setdiff1d(np.arange(len(data.targets)), test), test


def one_draw(data: Vectors, name: str, size: int, draw: int) -> Row:
    """Accuracies in per cent of every head, and which was chosen."""
    pool, test = pool_and_test(data, name)
    rng = np.random.default_rng([size, draw])
    classes = np.unique(data.targets[pool])
    drawn = [rng.permutation(pool[data.targets[pool] == k])[:size] for k in classes]
    rows = np.sort(np.concatenate(drawn))
    if name in SMALL:
        test = np.sort(np.concatenate([test, np.setdiff1d(pool, rows)]))
    labels = [data.classes[k] for k in data.targets]
    bank = Bank(
        Recipe(),
        Classify(data.classes),
        data.vectors,
        labels,
        data.groups,
        data.paths,
        data.widths,
    )
    targets = data.targets[test]
    chosen, _, _ = bank.choose(rows)

    def accuracy(answers: Ints) -> float:
        return 100 * float((answers == targets).mean())

    found: Row = {
        kind.name: accuracy(bank.outputs(kind, bank.fit(kind, rows), test).argmax(1))
        for kind in BANK
    }
    waist = data.vectors[:, -data.widths[-1] :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = LogisticRegression(max_iter=200).fit(waist[rows], data.targets[rows])
    found["plain"] = accuracy(plain.predict(waist[test]))
    return {**found, "chosen": found[chosen.name], "choice": chosen.name, "test": len(test)}


def cell(data: Vectors, name: str, size: int) -> Row:
    return {"draws": [one_draw(data, name, size, draw) for draw in range(DRAWS)]}


def judged(draws: list[Row]) -> Row:
    """One cell: means, paired differences to logistic regression, and the regret of the choice."""
    names = [*(kind.name for kind in BANK), "plain", "chosen"]
    mean = {name: float(np.mean([draw[name] for draw in draws])) for name in names}
    over = {
        name: t_interval(draw[name] - draw["logistic"] for draw in draws)
        for name in names
        if name != "logistic"
    }
    best = max((kind.name for kind in BANK), key=lambda name: mean[name])
    regret = t_interval(draw[best] - draw["chosen"] for draw in draws)
    choices = [draw["choice"] for draw in draws]
    return {
        "mean": mean,
        "over_logistic": over,
        "best": best,
        "regret": regret,
        "choices": {kind.name: choices.count(kind.name) for kind in BANK},
        "test": draws[0]["test"],
    }


def concluded(cells: dict[str, Row]) -> Row:
    gains = {key: row["over_logistic"]["chosen"] for key, row in cells.items()}
    regrets = [row["regret"]["mean"] for row in cells.values()]
    signs = [row["mean"] for key, row in cells.items() if key.startswith("sign-digits")]
    summary: Row = {
        "regret": t_interval(regrets),
        "worst_regret": max(regrets),
        "below_logistic_beyond_noise": [key for key, gain in gains.items() if gain["high"] < 0],
        "cells": len(cells),
        "judged": cells,
    }
    if signs:
        gain = float(np.mean([mean["chosen"] - mean["logistic"] for mean in signs]))
        summary["sign_digits_gain"] = gain
        summary["met"] = (
            summary["regret"]["mean"] <= 0.5
            and not summary["below_logistic_beyond_noise"]
            and gain >= 3
        )
    return summary


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--development", action="store_true")
    development = parser.parse_args().development
    torch.set_num_threads(1)
    store = Store("heads_development" if development else "heads", __doc__ or "")
    cells: dict[str, Row] = {}
    for name in DEVELOPMENT if development else JUDGED:
        data = vectors(name)
        pool, _ = pool_and_test(data, name)
        most = int(np.bincount(data.targets[pool])[np.unique(data.targets[pool])].min())
        for size in (3, 5, 10, 20) if development else (5, 10, 20):
            if (
                size > most or size * len(data.classes) > 450
            ):  # above 500 nothing is cross-validated
                continue
            key = f"{name}/{size}"
            row = store.row(key, lambda d=data, n=name, s=size: cell(d, n, s))
            cells[key] = judged(row["draws"])
            print(key, {k: round(v, 1) for k, v in cells[key]["mean"].items()}, flush=True)
    table(
        [("cell", "n", "logistic", "chosen", "gain", "low", "high", "best", "regret")]
        + [
            (
                key,
                row["test"],
                row["mean"]["logistic"],
                row["mean"]["chosen"],
                *list(row["over_logistic"]["chosen"].values())[:3],
                row["best"],
                row["regret"]["mean"],
            )
            for key, row in cells.items()
        ]
    )
    store.conclude(concluded(cells))


if __name__ == "__main__":
    main()
