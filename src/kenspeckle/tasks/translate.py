"""What string a given string becomes: dates in words to ISO dates, codes to names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset, Reads
from kenspeckle.data.source import Text
from kenspeckle.data.strings import code_points, text_of
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.seed_transformer import EncoderDecoder, TokenDecoder
from kenspeckle.tasks.classify import percent
from kenspeckle.tasks.facts import Telling
from kenspeckle.tasks.lines import LineTask, lines_sentence
from kenspeckle.tasks.task import Choices, Sizes

ROOM = 1.25  # a string may be this much longer than the longest that was learned


class Translate(LineTask[EncoderDecoder]):
    """Strings in, strings out, character by character; cross-entropy of the next character.

    Args:
        classes: the characters that may be written, each a name.
        alphabet: the characters that may be given, as one string.
        longest: characters written at most.
        smoothing: of the labels, in [0, 1).
    """

    reads: ClassVar[Reads] = "pairs"
    missing: ClassVar[str] = "A pair without its second string cannot be learned from."
    telling: ClassVar[Telling] = replace(LineTask.telling, topic="translation")

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How often a whole line is right."""
        return lines_sentence(report, "It writes", "It wrote")

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """How a line is written anew."""
        return "Lines written anew"

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

    def features(self, found: int) -> int:
        """How many characters may be given."""
        return len(self.alphabet)

    def network(self, backbone: Backbone | None) -> EncoderDecoder:
        """The encoder with a fresh decoder for the characters that may be written."""
        assert backbone is not None
        with torch.no_grad():
            backbone.get_buffer("alphabet").copy_(code_points([self.alphabet])[0])
            head = TokenDecoder(len(self.classes), self.dropout)
            head.alphabet.copy_(code_points(["".join(self.classes)])[0])
        return EncoderDecoder(backbone, head, self.longest)

    def loss(self, network: EncoderDecoder, batch: Batch, player: str) -> Tensor:
        """-log p of each next character and of the end, the mean of a string, weighted."""
        smoothing = self.smoothing if network.training else 0.0
        each = network.losses(batch.images, batch.targets, smoothing)
        return (each * batch.weights).sum() / batch.weights.sum()

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """One string a row of (B, U, 2) code points and log-probabilities."""
        answers = []
        for path, row in zip(paths, outputs, strict=True):
            text = text_of(row[:, 0].long().tolist())
            p = float(row[:, 1].sum().exp())
            answers.append(Answer(path, text, {text: p}, f"{text} ({percent(p)})"))
        return answers

    def kept(self) -> dict[str, Any]:
        """What may be given, and how long an answer may be."""
        return {"alphabet": self.alphabet, "longest": self.longest}
