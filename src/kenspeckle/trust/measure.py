"""What a report says of answers whose labels are known: scores, classes, mistakes, calibration."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.answer import Answer
from kenspeckle.score import accuracy_score
from kenspeckle.tasks.classify import Classify
from kenspeckle.trust.calibration import calibration_score, reliability

WORST = 24  # mistakes listed


def measure(
    task: Classify,
    answers: Sequence[Answer],
    labels: Sequence[str],
    groups: Sequence[Hashable] | None,
) -> dict[str, Any]:
    """Scores with intervals and what lies behind them, as plain values.

    Args:
        answers: N, with probabilities; a refused one counts by its likeliest class. With none
            there are no scores.
        labels: N true classes.
        groups: N, where images belong together; intervals are then over groups.
    """
    if not answers:
        return _nothing(task.classes)
    number = {name: i for i, name in enumerate(task.classes)}
    true = np.array([number[label] for label in labels])
    likely = np.array([[a.probabilities[c] for c in task.classes] for a in answers])
    said = likely.argmax(1)
    named = [str(g) for g in groups] if groups is not None else None
    bare = [_bare(a, task.classes[k]) for a, k in zip(answers, said, strict=True)]
    scores = {
        **task.score(bare, labels, named),
        "calibration_error": calibration_score(likely, true),
    }
    return {
        "scores": {name: score.as_dict() for name, score in scores.items()},
        "majority_share": float(np.bincount(true).max() / len(true)),
        "confusion": confusion(true, said, len(task.classes)).tolist(),
        "classes": per_class(true, said, task.classes, named),
        "reliability": reliability(likely, true, bins=10),
        "mistakes": _mistakes(bare, labels),
    }


def _nothing(classes: Sequence[str]) -> dict[str, Any]:
    """The same where no image could be both learned from and measured on: no score at all."""
    none = np.zeros(0, dtype=np.int64)
    return {
        "scores": {},
        "majority_share": 0.0,
        "confusion": confusion(none, none, len(classes)).tolist(),
        "classes": per_class(none, none, classes, None),
        "reliability": [],
        "mistakes": [],
    }


def confusion(true: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(K, K) counts: row is the true class, column the class said."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (true, said), 1)
    return counts


def per_class(
    true: NDArray[np.int64],
    said: NDArray[np.int64],
    classes: Sequence[str],
    groups: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """For each class: images, recall (found) and precision (right when said), with intervals."""
    rows = []
    for k, name in enumerate(classes):
        row: dict[str, Any] = {"class": name, "n": int((true == k).sum())}
        for title, among in (("recall", true == k), ("precision", said == k)):
            some = np.flatnonzero(among)
            inside = [groups[int(i)] for i in some] if groups is not None else None
            right = true[some] == said[some]
            row[title] = accuracy_score(right, inside).as_dict() if len(some) else None
        rows.append(row)
    return rows


def _bare(answer: Answer, label: str) -> Answer:
    """The answer as if nothing were refused."""
    return Answer(answer.path, label, answer.probabilities, answer.words)


def _mistakes(answers: Sequence[Answer], labels: Sequence[str]) -> list[dict[str, Any]]:
    wrong = [(a, label) for a, label in zip(answers, labels, strict=True) if a.label != label]
    wrong.sort(key=lambda pair: -pair[0].probability)
    return [
        {"path": a.path, "label": label, "said": a.label, "probability": a.probability}
        for a, label in wrong[:WORST]
    ]
