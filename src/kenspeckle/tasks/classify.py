"""Which one of K classes an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.errors import DataError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import FlattenHead, Head, PooledHead
from kenspeckle.score import Score, accuracy_score, bootstrap
from kenspeckle.tasks.task import Network, Task

HeadKind = Literal["pooled", "flatten"]
CERTAIN = 0.8  # an answer below this names the runner-up too
GUESS = 0.5  # an answer below this is more likely wrong than right, and reads so


class Classify(Task[Network]):
    """One of K: logits, softmax, cross-entropy.

    Args:
        classes: K names; an index into this is a label's number.
        head: which of models/heads.py is hung on the backbone.
        image_size: pixels a side; a flatten head is fixed to it.
        temperature: what logits are divided by before the softmax (Guo et al. 2017).
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        head: HeadKind = "pooled",
        image_size: int = 224,
        dropout: float = 0.0,
        smoothing: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        self.classes = tuple(classes)
        self.head, self.image_size, self.dropout = head, image_size, dropout
        self.smoothing, self.temperature = smoothing, temperature

    def network(self, backbone: Backbone) -> Network:
        """The backbone with a fresh head for K classes."""
        head: Head
        if self.head == "flatten":
            square = torch.zeros(1, backbone.in_channels, self.image_size, self.image_size)
            with torch.no_grad():
                places = backbone(square)[0].numel()
            head = FlattenHead(places, len(self.classes), self.dropout)
        else:
            head = PooledHead(backbone.channels, len(self.classes), self.dropout)
        return Network(backbone, head)

    def collate(self, labels: Sequence[str | None]) -> Tensor:
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
        return torch.tensor([number[str(label)] for label in labels])

    def loss(self, network: Network, batch: Batch, player: str) -> Tensor:
        """Cross-entropy of the logits, averaged by the images' weights."""
        logits = network(batch.images).float()
        losses = F.cross_entropy(
            logits, batch.targets, reduction="none", label_smoothing=self.smoothing
        )
        return (losses * batch.weights).sum() / batch.weights.sum()

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Logits (B, K) -> calibrated probabilities (B, K); rows sum to 1."""
        return (outputs.float() / self.temperature).softmax(1)

    def decode(self, outputs: Tensor, paths: Sequence[str]) -> list[Answer]:
        """One answer a row of logits (B, K)."""
        answers = []
        for path, row in zip(paths, self.probabilities(outputs), strict=True):
            order = row.argsort(descending=True, stable=True).tolist()
            likely = {self.classes[i]: float(row[i]) for i in order}
            answers.append(Answer(path, self.classes[order[0]], likely, say(likely)))
        return answers

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """`accuracy_score`, `balanced_accuracy_score` and `nll_error`, each with its interval."""
        right = np.array([a.label == label for a, label in zip(answers, labels, strict=True)])
        surprise = np.array(
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
            "nll_error": bootstrap(lambda rows: float(surprise[rows].mean()), n, groups),
        }


def say(likely: Mapping[str, float]) -> str:
    """An answer as a person would say it; an uncertain one reads as uncertain.

    >>> say({"rose": 0.97, "tulip": 0.03})
    'rose (97 %)'
    >>> say({"rose": 0.45, "tulip": 0.40, "daisy": 0.15})
    'not sure: perhaps rose (45 %) or tulip (40 %)'
    """
    (first, p), *rest = likely.items()
    if p >= CERTAIN or not rest:
        return f"{first} ({_percent(p)})"
    second, q = rest[0]
    if p >= GUESS:
        return f"probably {first} ({_percent(p)}), else {second} ({_percent(q)})"
    return f"not sure: perhaps {first} ({_percent(p)}) or {second} ({_percent(q)})"


def _percent(p: float) -> str:
    """Never `100 %`: nothing is certain."""
    return "over 99 %" if p > 0.995 else f"{100 * p:.0f} %"
