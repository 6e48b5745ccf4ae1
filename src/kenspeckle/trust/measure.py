"""What a report says of answers whose labels are known: scores, details, calibration, examples."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kenspeckle.answer import Answer
from kenspeckle.tasks.task import ClassTask, Task
from kenspeckle.tasks.under import obeyed
from kenspeckle.trust.calibration import calibration_score, reliability

WORST = 24  # mistakes listed
BEST = 8  # right answers listed


def measure(
    task: Task[Any],
    answers: Sequence[Answer],
    labels: Sequence[str],
    groups: Sequence[Hashable] | None,
) -> dict[str, Any]:
    """Scores with intervals and what lies behind them, as plain values.

    Args:
        answers: N; a refused one counts by its likeliest class. With none there are no scores.
        labels: N true ones.
        groups: N, where images belong together; intervals are then over groups.
    """
    named = [str(g) for g in groups] if groups is not None else None
    bare = [replace(a, label=task.meant(a), unknown=False) for a in answers]
    scores = dict(task.score(bare, labels, named)) if answers else {}
    found: dict[str, Any] = {}
    if isinstance(task, ClassTask) and task.is_exclusive:
        found["reliability"] = []
        if answers:
            likely = np.array([[a.probabilities[c] for c in task.classes] for a in answers])
            true = task.strata(labels)
            scores["calibration_error"] = calibration_score(likely, true)
            found["reliability"] = reliability(likely, true, bins=10)
    if task.rules is not None and answers:
        found["obeyed"] = obeyed(task, bare, labels)
    listed: dict[str, Any] = {"mistakes": None, "best": []}
    if task.judges:
        listed = {
            "mistakes": _listed(task, bare, labels, right=False)[:WORST],
            "best": _listed(task, bare, labels, right=True)[:BEST],
        }
    return {
        "scores": {name: score.as_dict() for name, score in scores.items()},
        **task.details(bare, labels, named),
        **found,
        **listed,
    }


def _listed(
    task: Task[Any], answers: Sequence[Answer], labels: Sequence[str], right: bool
) -> list[dict[str, Any]]:
    """Wrong or right answers, the most sure first."""
    rows = [(a, t) for a, t in zip(answers, labels, strict=True) if task.is_right(a, t) == right]
    rows.sort(key=lambda row: -row[0].probability)
    return [
        {
            "path": a.path,
            "label": task.told(label),
            "said": None if a.label is None else task.told(a.label),
            "probability": a.probability,
            **({"nearest": list(a.nearest)} if a.nearest else {}),
        }
        for a, label in rows
    ]
