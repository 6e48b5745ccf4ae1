"""What string a given string becomes: dates in words to ISO dates, codes to names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.source import Text
from kenspeckle.data.strings import code_points, text_of
from kenspeckle.errors import DataError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.seed_transformer import END, PAD, EncoderDecoder, TokenDecoder, numbers
from kenspeckle.score import Score, accuracy_score, bootstrap
from kenspeckle.tasks.classify import percent
from kenspeckle.tasks.task import Choices, Task

SHOWN = 12  # right and wrong strings in a report, each
ROOM = 1.25  # a string may be this much longer than the longest that was learned


class Translate(Task[EncoderDecoder]):
    """Strings in, strings out, character by character; cross-entropy of the next character.

    Args:
        classes: the characters that may be written, each a name.
        alphabet: the characters that may be given, as one string.
        longest: characters written at most.
        smoothing: of the labels, in [0, 1).
    """

    reads: ClassVar[str] = "pairs"

    def __init__(
        self,
        classes: Sequence[str],
        *,
        alphabet: str = "",
        longest: int = 100,
        smoothing: float = 0.0,
        dropout: float = 0.1,
        **_: Any,
    ) -> None:
        self.classes, self.alphabet = tuple(classes), alphabet
        self.longest, self.smoothing, self.dropout = longest, smoothing, dropout

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Translate:
        """With the characters of the learned pairs as alphabets."""
        samples = [used.samples[i] for i in learned]
        given = "".join(s.source.text for s in samples if isinstance(s.source, Text))
        wanted = [str(s.label) for s in samples]
        return cls(
            sorted(set("".join(wanted))),
            alphabet="".join(sorted(set(given))),
            longest=int(ROOM * max(len(text) for text in wanted)) + 1,
            smoothing=choices.smoothing,
            dropout=choices.dropout or 0.1,
        )

    def network(self, backbone: Backbone) -> EncoderDecoder:
        """The encoder with a fresh decoder for the characters that may be written."""
        with torch.no_grad():
            backbone.get_buffer("alphabet").copy_(code_points([self.alphabet])[0])
            head = TokenDecoder(len(self.classes), self.dropout)
            head.alphabet.copy_(code_points(["".join(self.classes)])[0])
        return EncoderDecoder(backbone, head, self.longest)

    def collate(self, labels: Sequence[str | None]) -> Tensor:
        """(N, U) code points, zeros after the end.

        Raises:
            DataError: a string is missing.
        """
        if any(label is None for label in labels):
            raise DataError("A pair without its second string cannot be learned from.")
        return code_points([str(label) for label in labels])

    def loss(self, network: EncoderDecoder, batch: Batch, player: str) -> Tensor:
        """-log p of each next character and of the end, the mean of a string, weighted."""
        wanted = batch.targets
        logits = network.taught(batch.images, wanted).float()
        aim = F.pad(numbers(wanted, network.head.alphabet), (0, 1), value=PAD)
        aim[torch.arange(len(aim)), (wanted > 0).sum(1)] = END
        losses = F.cross_entropy(
            logits.transpose(1, 2),
            aim,
            ignore_index=PAD,
            reduction="none",
            label_smoothing=self.smoothing if network.training else 0.0,
        )
        each = losses.sum(1) / (aim != PAD).sum(1)
        return (each * batch.weights).sum() / batch.weights.sum()

    def decode(self, outputs: Tensor, paths: Sequence[str]) -> list[Answer]:
        """One string a row of (B, U, 2) code points and log-probabilities."""
        answers = []
        for path, row in zip(paths, outputs, strict=True):
            text = text_of(row[:, 0].long().tolist())
            p = float(row[:, 1].sum().exp())
            answers.append(Answer(path, text, {text: p}, f"{text} ({percent(p)})"))
        return answers

    def strangers(self, text: str) -> str:
        """The characters of a string that were never learned."""
        return "".join(sorted(set(text) - set(self.alphabet)))

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """The share of whole strings that are right, and wrong characters per true character."""
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

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`examples`: the first few wrong strings and the first few right ones."""
        rows = [
            {"path": a.path, "label": label, "said": a.label}
            for a, label in zip(answers, labels, strict=True)
        ]
        wrong = [row for row in rows if row["label"] != row["said"]]
        right = [row for row in rows if row["label"] == row["said"]]
        return {"examples": [*wrong[:SHOWN], *right[:SHOWN]]}

    def kept(self) -> dict[str, Any]:
        """What may be given, and how long an answer may be."""
        return {"alphabet": self.alphabet, "longest": self.longest}


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
