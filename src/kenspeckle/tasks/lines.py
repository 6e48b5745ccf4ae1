"""What tasks share that write lines of characters: whole lines right, characters wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Means
from kenspeckle.data.strings import code_points
from kenspeckle.errors import DataError
from kenspeckle.score import Score, accuracy_score, bootstrap
from kenspeckle.tasks.facts import Telling
from kenspeckle.tasks.task import Sizes, Task
from kenspeckle.words import Title, between, times_in_100, where

Net = TypeVar("Net", bound=nn.Module)
SHOWN = 12  # right and wrong lines in a report, each
LINE_TITLES: Mapping[str, Title] = {
    "exact_match_score": Title(
        "Wholly right", "How often no character is wrong. Higher is better.", True
    ),
    "character_error": Title(
        "Wrong characters",
        "Characters to insert, delete or replace, per character of the right string. "
        "0 is perfect; lower is better.",
        True,
    ),
}


class LineTask(Task[Net]):
    """A task whose answer is a line of characters."""

    means: ClassVar[Means] = "text"
    missing: ClassVar[str] = "A sample without its line cannot be learned from."
    """What is said where nobody says the line."""

    telling: ClassVar[Telling] = Telling(
        titles=LINE_TITLES,
        share="exact_match_score",
        needed=("examples",),
    )

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N, U) code points, zeros after the end.

        Raises:
            DataError: a line is missing.
        """
        if any(label is None for label in labels):
            raise DataError(self.missing)
        return code_points([str(label) for label in labels])

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """`exact_match_score` and `character_error`."""
        return line_scores(answers, labels, groups)

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`examples`: the first few wrong lines and the first few right ones."""
        return {"examples": line_examples(answers, labels)}


def line_scores(
    answers: Sequence[Answer],
    labels: Sequence[str | None],
    groups: Sequence[str] | None = None,
) -> dict[str, Score]:
    """The share of whole lines that are right, and wrong characters per true character."""
    right = np.array([a.label == label for a, label in zip(answers, labels, strict=True)])
    wrong = np.array(
        [edits(a.label or "", str(label)) for a, label in zip(answers, labels, strict=True)]
    )
    length = np.array([len(str(label)) for label in labels])

    def rate(rows: np.ndarray) -> float:
        return float(wrong[rows].sum() / max(1, length[rows].sum()))

    return {
        "exact_match_score": accuracy_score(right, groups),
        "character_error": bootstrap(rate, len(right), groups),
    }


def line_examples(
    answers: Sequence[Answer], labels: Sequence[str | None]
) -> list[dict[str, str | None]]:
    """The first few wrong lines and the first few right ones: `path`, `label`, `said`."""
    rows = [
        {"path": a.path, "label": label, "said": a.label}
        for a, label in zip(answers, labels, strict=True)
    ]
    wrong = [row for row in rows if row["label"] != row["said"]]
    right = [row for row in rows if row["label"] == row["said"]]
    return [*wrong[:SHOWN], *right[:SHOWN]]


def lines_sentence(report: Mapping[str, Any], writes: str, wrote: str) -> str:
    """How often a whole line is right, in the verb of the task."""
    score = report["scores"]["exact_match_score"]
    told = f"{writes} the whole line exactly right about {times_in_100(score['value'])} times in"
    told += " 100"
    if score["value"] == 1:
        told = f"{wrote} the whole line exactly right every time"
    return f"{told} ({between(score)}, {where(report, score)})."


def edits(one: str, other: str) -> int:
    """How many characters must be put in, taken out or changed (Levenshtein 1966).

    >>> edits("2021-03-04", "2021-3-05")
    2
    """
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(before + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]
