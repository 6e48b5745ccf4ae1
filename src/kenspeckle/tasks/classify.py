"""Which one of K classes an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.answer import Answer
from kenspeckle.errors import DataError
from kenspeckle.score import Score, accuracy_score, bootstrap
from kenspeckle.tasks.facts import Telling
from kenspeckle.tasks.losses import Loss, one_of_k
from kenspeckle.tasks.task import ClassTask, Floats, Sizes
from kenspeckle.tasks.temperature import fit_temperature, surprise
from kenspeckle.words import Title, a_thing, between, things, times_in_100, where

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules
    from kenspeckle.tasks.under import Under

MOST_IN_MATRIX = 1000  # classes; a million cells are 5 MB of report
CERTAIN = 0.8  # an answer below this names the runner-up too
GUESS = 0.5  # an answer below this is more likely wrong than right, and reads so


class Classify(ClassTask):
    """One of K: logits, softmax, cross-entropy (and its relatives in tasks/losses.py)."""

    telling: ClassVar[Telling] = Telling(
        titles={
            "accuracy_score": Title(
                "Right answers",
                "How often the class it names is the true one. Higher is better.",
                True,
            ),
            "balanced_accuracy_score": Title(
                "Right answers, every class counting alike",
                "The average over classes, so that a rare class weighs as much as a common one. "
                "Higher is better.",
                True,
            ),
            "nll_error": Title(
                "Surprise at the truth",
                "The average of minus the logarithm of the probability given to the true class. "
                "0 is perfect; lower is better.",
                False,
            ),
            "calibration_error": Title(
                "How far stated percentages are off",
                "The gap between the probability it states and how often it is right. Lower is "
                "better.",
                True,
            ),
        },
        share="accuracy_score",
        topic="image-classification",
        needed=(
            *("unknown", "tried", "majority_share", "confusion", "classes", "reliability"),
            "mistakes",
        ),
    )

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How often it names the right class, against always saying the commonest one."""
        score = report["scores"]["accuracy_score"]
        named = f"it names the right class about {times_in_100(score['value'])} times in 100"
        if score["value"] == 1:
            named = "it named the right class every time"
        range_ = f"{between(score)}, {where(report, score)}"
        return f"On {things(report)} like these {named} ({range_}){_against(report)}"

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """Which class."""
        verb = "shows" if things(report) == "images" else "is"
        return f"Which of {classes} classes {a_thing(report)} {verb}"

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N,) class numbers.

        Raises:
            DataError: a label is missing or not a class.
        """
        number = {name: i for i, name in enumerate(self.classes)}
        unknown = [label for label in labels if label not in number]
        if unknown:
            raise DataError(
                f"{len(unknown)} labels are not classes of this task; the first is {unknown[0]!r}."
            )
        return torch.tensor([number[str(label)] for label in labels], dtype=torch.long)

    def losses(self, logits: Tensor, targets: Tensor, training: bool) -> Tensor:
        """Cross-entropy (B,) of targets (B,) or shares (B, K)."""
        if not training:
            return one_of_k(logits, targets, Loss())
        return one_of_k(logits, targets, self.chosen, self.smoothing)

    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) whether the largest logit is the class's."""
        return logits.argmax(1) == targets

    def shares(self, targets: Tensor) -> Tensor:
        """One-hot (B, K)."""
        return F.one_hot(targets, len(self.classes)).float()

    def strata(self, labels: Sequence[str | None]) -> NDArray[np.int64]:
        """The class numbers."""
        return self.collate(labels).numpy()

    def calibrate(self, logits: Floats, targets: NDArray[np.int64]) -> None:
        """Set the temperature (Guo et al. 2017), where it pays."""
        self.temperature = fit_temperature(logits, targets).value

    def judge(self, logits: Floats, targets: NDArray[np.int64]) -> tuple[Floats, float]:
        """-log p(class), and the share of right answers."""
        return judge_classes(logits, targets)

    def heard(self, outputs: Tensor) -> Tensor:
        """Calibrated log p (B, K)."""
        return self.probabilities(outputs).double().clamp(1e-12, 1 - 1e-12).log()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Logits (B, K) -> calibrated probabilities (B, K); rows sum to 1."""
        return (outputs.float() / self.temperature).softmax(1)

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """One answer a row of logits (B, K)."""
        answers = []
        for path, row in zip(paths, self.probabilities(outputs), strict=True):
            order = row.argsort(descending=True, stable=True).tolist()
            likely = {self.classes[i]: float(row[i]) for i in order}
            answers.append(Answer(path, self.classes[order[0]], likely, say(likely)))
        return answers

    def under(self, rules: Rules, side: Mapping[str, str]) -> Under:
        """As `Task.under`."""
        from kenspeckle.tasks.under_names import ClassesUnder

        return ClassesUnder(self, rules, side)

    def meant(self, answer: Answer) -> str | None:
        """The likeliest class."""
        return next(iter(answer.probabilities), answer.label)

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """`accuracy_score`, `balanced_accuracy_score` and `nll_error`, each with its interval."""
        right = np.array([a.label == label for a, label in zip(answers, labels, strict=True)])
        surprised = np.array(
            [
                -np.log(max(a.probabilities[str(label)], 1e-12))
                for a, label in zip(answers, labels, strict=True)
            ]
        )
        _, of = np.unique([str(label) for label in labels], return_inverse=True)

        def balanced(rows: np.ndarray) -> float:
            count = np.bincount(of[rows])
            found = np.bincount(of[rows], weights=right[rows])
            return float(np.mean(found[count > 0] / count[count > 0]))

        n = len(right)
        return {
            "accuracy_score": accuracy_score(right, groups),
            "balanced_accuracy_score": bootstrap(balanced, n, groups),
            "nll_error": bootstrap(lambda rows: float(surprised[rows].mean()), n, groups),
        }

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The confusion matrix (to 1000 classes), every class by itself, the commonest's share."""
        true = self.collate(labels).numpy()
        said = self.collate([answer.label for answer in answers]).numpy()
        return {
            "majority_share": float(np.bincount(true).max() / len(true)) if len(true) else 0.0,
            "confusion": confusion(true, said, len(self.classes)).tolist()
            if len(self.classes) <= MOST_IN_MATRIX
            else [],
            "classes": per_class(true, said, self.classes, groups),
        }


def _against(report: Mapping[str, Any]) -> str:
    """The end of the sentence: the same against always saying the commonest class."""
    score, share = report["scores"]["accuracy_score"], report["majority_share"]
    guess = f"always saying the commonest class would be right {times_in_100(share)} times in 100"
    if score["high"] < share:
        return f". That is worse than guessing: {guess}."
    if score["low"] <= share:
        return f". That is not shown to be better than guessing: {guess}."
    return f"; {guess}."


def judge_classes(logits: Floats, targets: NDArray[np.int64]) -> tuple[Floats, float]:
    """-log p(class) of each image after the best temperature, and the share of right answers."""
    losses = surprise(logits, targets, fit_temperature(logits, targets).fitted)
    return losses, float((logits.argmax(1) == targets).mean())


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


def say(likely: Mapping[str, float]) -> str:
    """An answer as a person would say it; an uncertain one reads as uncertain.

    >>> say({"rose": 0.97, "tulip": 0.03})
    'rose (97 %)'
    >>> say({"rose": 0.45, "tulip": 0.40, "daisy": 0.15})
    'not sure: perhaps rose (45 %) or tulip (40 %)'
    """
    (first, p), *rest = likely.items()
    if p >= CERTAIN or not rest:
        return f"{first} ({percent(p)})"
    second, q = rest[0]
    if p >= GUESS:
        return f"probably {first} ({percent(p)}), else {second} ({percent(q)})"
    return f"not sure: perhaps {first} ({percent(p)}) or {second} ({percent(q)})"


def percent(p: float) -> str:
    """Never `100 %`: nothing is certain."""
    return "over 99 %" if p > 0.995 else f"{100 * p:.0f} %"
