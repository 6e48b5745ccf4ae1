"""Which of K labels an image bears: none, one, or any number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Means, joined_tags, tags_in
from kenspeckle.errors import DataError
from kenspeckle.score import Score, accuracy_score, bootstrap, proportion
from kenspeckle.tasks.classify import percent
from kenspeckle.tasks.facts import Telling
from kenspeckle.tasks.losses import Loss, any_of_k
from kenspeckle.tasks.task import ClassTask, Floats, Sizes
from kenspeckle.tasks.temperature import fit_temperature, surprise
from kenspeckle.words import Title, a_thing, between, things, times_in_100, where

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules
    from kenspeckle.tasks.under import Under

FEWEST = 5  # held-out images with a label; with fewer, its threshold stays at one half
DRAWS = 300  # of the bootstrap: average precision is sorted anew in each
Bools = NDArray[np.bool_]


class Tag(ClassTask):
    """Any of K: one sigmoid a label, cross-entropy of each, a threshold of its own for each.

    Args:
        thresholds: (K,) in (0, 1): from which probability on a label is said; None is one half.
        (the others as in `ClassTask`)
    """

    is_exclusive = False
    means: ClassVar[Means] = "tags"
    telling: ClassVar[Telling] = Telling(
        titles={
            "mean_average_precision_score": Title(
                "Labels in the right order",
                "Whether what has a label comes before what lacks it, when sorted by the label's "
                "probability; the average over labels (mean average precision). Higher is better.",
                True,
            ),
            "micro_precision_score": Title(
                "Right when given",
                "Of all labels it gives, how many are right. Higher is better.",
                True,
            ),
            "micro_recall_score": Title(
                "Found", "Of all labels that are there, how many it gives. Higher is better.", True
            ),
            "micro_f1_score": Title(
                "Right and found in one number",
                "Between the two above and nearer to the worse one (F1 over all labels). Higher is "
                "better.",
                True,
            ),
            "macro_f1_score": Title(
                "Right and found, every label counting alike",
                "The average of each label's F1, so that a rare label weighs as much as a common "
                "one. Higher is better.",
                True,
            ),
            "exact_match_score": Title(
                "Wholly right", "How often no label is wrong or missing. Higher is better.", True
            ),
        },
        topic="image-classification",
        needed=("labels",),
    )

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How many of the labels it gives are right, and how many of those there are it finds."""
        right = report["scores"].get("micro_precision_score")
        found = report["scores"]["micro_recall_score"]
        on = where(report, found)
        if right is None:
            return f"On {things(report)} like these it gives no label at all ({on})."
        given = f"about {times_in_100(right['value'])} in 100 are right"
        if right["value"] == 1:
            given = "all were right"
        finds = f"it finds about {times_in_100(found['value'])} in 100 of those that are there"
        if found["value"] == 1:
            finds = "it found all of those that are there"
        return (
            f"Of the labels it gives, {given} ({between(right)}), and {finds} ({between(found)}; "
            f"{on})."
        )

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """Which labels."""
        return f"Which of {classes} labels {a_thing(report)} has"

    def __init__(
        self, classes: Sequence[str], *, thresholds: Sequence[float] | None = None, **others: Any
    ) -> None:
        super().__init__(classes, **others)
        self.thresholds = tuple(thresholds or [0.5] * len(self.classes))

    def kept(self) -> dict[str, Any]:
        """Temperature and thresholds."""
        return {**super().kept(), "thresholds": list(self.thresholds)}

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N, K) zeros and ones.

        Raises:
            DataError: a label is missing or not known.
        """
        number = {name: i for i, name in enumerate(self.classes)}
        targets = torch.zeros(len(labels), len(self.classes))
        for row, label in enumerate(labels):
            if label is None:
                raise DataError(
                    "An image without labels cannot be learned from; write '-' for none."
                )
            for name in tags_in(label):
                if name not in number:
                    raise DataError(f"The label {name!r} is not one of this task.")
                targets[row, number[name]] = 1.0
        return targets

    def losses(self, logits: Tensor, targets: Tensor, training: bool) -> Tensor:
        """Cross-entropy of each label, (B,)."""
        if not training:
            return any_of_k(logits, targets, Loss())
        return any_of_k(logits, targets, self.chosen, self.smoothing)

    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) whether each image gets its labels and no other, at a probability of a half."""
        return ((logits > 0) == (targets > 0.5)).all(1)

    def shares(self, targets: Tensor) -> Tensor:
        """They are shares already."""
        return targets

    def strata(self, labels: Sequence[str | None]) -> NDArray[np.int64]:
        """The number of each image's rarest label; K for none: rare labels are spread first."""
        counts = Counter(name for label in labels for name in tags_in(str(label)))
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array(
            [
                min(
                    (number[n] for n in tags_in(str(label))),
                    key=lambda i: counts[self.classes[i]],
                    default=len(self.classes),
                )
                for label in labels
            ],
            dtype=np.int64,
        )

    def calibrate(self, logits: Floats, targets: NDArray[np.int64]) -> None:
        """Set the temperature where it pays, and the threshold of the best F1 for each label."""
        binary, true = _one_by_one(logits, targets)
        self.temperature = fit_temperature(binary, true).value
        said = _sigmoid(logits / self.temperature)
        self.thresholds = tuple(
            best_threshold(said[:, k], targets[:, k] > 0) for k in range(len(self.classes))
        )

    def judge(self, logits: Floats, targets: NDArray[np.int64]) -> tuple[Floats, float]:
        """-log p(labels) of each image, the mean over labels, and the mean average precision."""
        binary, true = _one_by_one(logits, targets)
        losses = surprise(binary, true, fit_temperature(binary, true).fitted)
        return losses.reshape(logits.shape).mean(1), mean_average_precision(logits, targets > 0)

    def heard(self, outputs: Tensor) -> Tensor:
        """Calibrated log odds (B, K)."""
        return self.probabilities(outputs).double().clamp(1e-12, 1 - 1e-12).logit()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Logits (B, K) -> the probability of each label, (B, K)."""
        return (outputs.float() / self.temperature).sigmoid()

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """One answer a row of logits (B, K): the labels whose probability reaches its threshold."""
        answers = []
        limits = torch.tensor(self.thresholds)
        for path, row in zip(paths, self.probabilities(outputs), strict=True):
            order = row.argsort(descending=True, stable=True).tolist()
            likely = {self.classes[i]: float(row[i]) for i in order}
            said = [self.classes[i] for i in order if row[i] >= limits[i]]
            words = ", ".join(f"{name} ({percent(likely[name])})" for name in said)
            words = words or f"none of the {len(self.classes)} labels"
            answers.append(Answer(path, joined_tags(said), likely, words))
        return answers

    def under(self, rules: Rules, side: Mapping[str, str]) -> Under:
        """As `Task.under`."""
        from kenspeckle.tasks.under_names import TagsUnder

        return TagsUnder(self, rules, side)

    def meant(self, answer: Answer) -> str | None:
        """The labels whose probability reaches its threshold."""
        if not answer.probabilities:
            return answer.label
        limits = dict(zip(self.classes, self.thresholds, strict=True))
        return joined_tags(n for n, p in answer.probabilities.items() if p >= limits[n])

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """Mean average precision, F1, precision and recall over labels, and whole sets right.

        Where no image bears a label there is nothing to find and no score; where no label is said
        there is no precision.
        """
        likely, said, true = self._arrays(answers, labels)
        if not true.any():
            return {}
        n = len(true)

        def over(statistic: Any) -> Score:
            return _honest(
                bootstrap(lambda rows: statistic(said[rows], true[rows]), n, groups, DRAWS)
            )

        ranked = _honest(
            bootstrap(
                lambda rows: mean_average_precision(likely[rows], true[rows]), n, groups, DRAWS
            )
        )
        precision = {}
        if said.any():
            precision["micro_precision_score"] = over(lambda s, t: _share((s & t).sum(), s.sum()))
        return {
            "mean_average_precision_score": ranked,
            **precision,
            "micro_recall_score": over(lambda s, t: _share((s & t).sum(), t.sum())),
            "micro_f1_score": over(lambda s, t: _share(2 * (s & t).sum(), s.sum() + t.sum())),
            "macro_f1_score": over(
                lambda s, t: float(np.nanmean(_f1(s, t))) if t.any() or s.any() else float("nan")
            ),
            "exact_match_score": accuracy_score((said == true).all(1), groups),
        }

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`labels`: for each label how many images bear it, its threshold, and how well it does."""
        _, said, true = self._arrays(answers, labels)
        rows = []
        for k, name in enumerate(self.classes):
            s, t = said[:, k], true[:, k]

            def f1(rows: NDArray[np.intp], s: Bools = s, t: Bools = t) -> float:
                return _share(2 * (s[rows] & t[rows]).sum(), s[rows].sum() + t[rows].sum())

            rows.append(
                {
                    "label": name,
                    "n": int(t.sum()),
                    "threshold": self.thresholds[k],
                    "precision": _proportion((s & t).sum(), s.sum()),
                    "recall": _proportion((s & t).sum(), t.sum()),
                    "f1": bootstrap(f1, len(t), groups, DRAWS).as_dict() if t.any() else None,
                }
            )
        return {"labels": rows}

    def _arrays(
        self, answers: Sequence[Answer], labels: Sequence[str | None]
    ) -> tuple[Floats, Bools, Bools]:
        """(N, K) probabilities, what was said, and what is true."""
        likely = np.array([[a.probabilities[c] for c in self.classes] for a in answers])
        said = self.collate([a.label for a in answers]).numpy() > 0
        return likely, said, self.collate(labels).numpy() > 0


def _honest(score: Score) -> Score:
    """The score; where all is right or wrong, a bootstrap has no width, and Wilson's has."""
    if score.value not in (0.0, 1.0):
        return score
    return replace(proportion(round(score.value * score.n), score.n), method="Wilson")


def best_threshold(said: Floats, true: Bools) -> float:
    """The threshold with the best F1 on held-out probabilities (N,), half-way between two of them.

    With fewer than five images that bear the label it stays at one half; of equal ones the nearest
    to one half is taken.

    >>> best_threshold(np.array([.1, .2, .3, .6, .7, .8, .9, .9]), np.arange(8) > 1)
    0.25
    """
    if true.sum() < FEWEST or true.all():
        return 0.5
    order = np.argsort(-said, kind="stable")
    found = np.cumsum(true[order])
    f1 = 2 * found / (np.arange(1, len(said) + 1) + true.sum())
    middles = np.append((said[order][:-1] + said[order][1:]) / 2, said.min() / 2)
    is_cut = np.append(said[order][:-1] > said[order][1:], True)
    f1 = np.where(is_cut, f1, -1.0)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    chosen = middles[best[np.argmin(np.abs(middles[best] - 0.5))]]
    return float(np.clip(chosen, 0.02, 0.98))


def mean_average_precision(likely: Floats, true: Bools) -> float:
    """The mean over labels that occur of the area under precision over recall.

    Source: Everingham et al. 2015 (VOC), as sklearn's `average_precision_score`; ties count as if
    the wrong ones came first.
    """
    areas = []
    for k in np.flatnonzero(true.any(0)):
        order = np.lexsort((true[:, k], -likely[:, k]))
        hits = true[order, k]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        areas.append(float(precision[hits].mean()))
    return float(np.mean(areas)) if areas else float("nan")


def _f1(said: Bools, true: Bools) -> Floats:
    """(K,); nan for a label that is neither there nor said."""
    total = said.sum(0) + true.sum(0)
    return np.where(total > 0, 2 * (said & true).sum(0) / np.maximum(total, 1), np.nan)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _proportion(part: int, whole: int) -> dict[str, Any] | None:
    return proportion(int(part), int(whole)).as_dict() if whole else None


def _one_by_one(logits: Floats, targets: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Every label of every image as a choice between no and yes: logits (N K, 2), labels (N K,)."""
    flat = logits.reshape(-1)
    return np.stack([np.zeros_like(flat), flat], 1), np.asarray(targets, np.int64).reshape(-1)


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))
