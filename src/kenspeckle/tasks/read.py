"""What line of characters an image holds: serial numbers, dates, plates, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from kenspeckle.answer import Answer, Place
from kenspeckle.data.augment import augment
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.fit import Fit
from kenspeckle.data.strings import code_points
from kenspeckle.errors import DataError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.reader import CharacterReader, ColumnReader
from kenspeckle.tasks.classify import percent
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.lines import LineTask, lines_sentence
from kenspeckle.tasks.task import Choices, Sizes
from kenspeckle.words import Table, things

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules
    from kenspeckle.tasks.under import Under

STRENGTH = 0.25  # of changes: 3 % of a side, 4 degrees
ROOM = 1.25  # a line may be this much longer than the longest that was learned
READERS = {"ctc": ColumnReader, "decoder": CharacterReader}
Reader = ColumnReader | CharacterReader


class Read(LineTask[Reader]):
    """The characters of a line, in order, and where each stands.

    Args:
        classes: the characters that may be read, each a name.
        reader: `ctc`, a symbol for each column, or `decoder`, a Transformer that writes.
        longest: characters of a line at most.
        fit: how an image becomes what the network sees.
        dropout: of the decoder.
    """

    says_where: ClassVar[bool] = True
    missing: ClassVar[str] = "An image without its line of characters cannot be learned from."
    learning: ClassVar[Learning] = Learning(
        model="cnn",
        heads=tuple(READERS),
        settings={
            "training.epochs": 120,
            "training.batch_size": 32,
            "training.patience": 30,
        },
        augmentations=("crop", "rotate", "shear", "colour", "blur"),
    )
    telling: ClassVar[Telling] = replace(LineTask.telling, topic="image-to-text")

    def __init__(
        self,
        classes: Sequence[str],
        *,
        reader: str = "ctc",
        longest: int = 20,
        fit: Fit | None = None,
        dropout: float = 0.1,
        **_: Any,
    ) -> None:
        self.classes, self.reader, self.longest = tuple(classes), reader, longest
        self.fit, self.dropout = fit or Fit(64), dropout

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Read:
        """With the characters of the learned lines as alphabet.

        Raises:
            DataError: a line is empty, or no line has a character.
        """
        lines = [str(used.samples[i].label) for i in learned]
        if not "".join(lines):
            raise DataError(f"No line of {used.root} holds a character, so there is none to read.")
        return cls(
            sorted(set("".join(lines))),
            reader=choices.head if choices.head in READERS else "ctc",
            longest=int(ROOM * max(len(line) for line in lines)) + 1,
            fit=choices.fit,
            dropout=choices.dropout or 0.1,
            **choices.obeyed,
        )

    @classmethod
    def shape_for(cls, typical: tuple[int, int] | None) -> tuple[int, int]:
        """As high as the images, 32 pixels at most, and as wide as that makes them."""
        height, width = typical or (32, 128)
        high = max(16, min(height, 32))
        wide = -(-width * high // height)
        return high, min(1024, -(-max(wide, high) // 8) * 8)

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How often a whole line is right."""
        return lines_sentence(report, "It reads", "It read")

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """Characters that it could not know."""
        if not report.get("strangers"):
            return []
        intro = (
            "These stand in lines that were measured and in none that was learned, so lines with "
            "them cannot be read right. Add images with them."
        )
        rows = [[name] for name in report["strangers"]]
        return [Table("Characters never learned", intro, ["Character"], rows)]

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """What line."""
        return f"What line of characters an {things(report, 1)} holds"

    def network(self, backbone: Backbone | None) -> Reader:
        """The backbone with a reader for these characters.

        Raises:
            DataError: an image is too narrow for its longest line.
        """
        assert backbone is not None
        if self.reader == "decoder":
            network: Reader = CharacterReader(
                backbone, len(self.classes), self.longest, self.dropout
            )
        else:
            columns = self.fit.shape[1]
            if columns < 2 * self.longest + 1:
                raise DataError(
                    f"A line of up to {self.longest} characters needs {2 * self.longest + 1} "
                    f"columns, and the network sees {columns}. Say --imgsz HEIGHTxWIDTH with a "
                    "larger width, or read with --head decoder."
                )
            network = ColumnReader(backbone, len(self.classes), self.longest, self.fit.shape)
        network.head.alphabet.copy_(code_points(["".join(self.classes)])[0])
        return network

    def loss(self, network: Reader, batch: Batch, player: str) -> Tensor:
        """-log p of the lines, for each character, weighted."""
        each = network.losses(batch.images, batch.targets)
        return (each * batch.weights).sum() / batch.weights.sum()

    def changed(
        self, images: Tensor, targets: Tensor, names: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Changed so little that no character leaves the image."""
        return augment(images, names, STRENGTH), targets

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """One line a row of (B, 1 + U, 6), see `ColumnReader.forward`."""
        answers = []
        for row, path in enumerate(paths):
            size = sizes[row] if sizes is not None else self.fit.shape[::-1]
            symbols = outputs[row, 1:][outputs[row, 1:, 0] > 0].double().numpy()
            text = "".join(chr(int(point)) for point in symbols[:, 0])
            boxes = self.fit.pixels(symbols[:, 2:], size)
            places = tuple(
                Place(name, float(np.exp(p)), *map(float, box))
                for name, p, box in zip(text, symbols[:, 1], boxes, strict=True)
            )
            p = float(outputs[row, 0, 1].exp())
            said = f"{text} ({percent(p)})" if text else f"nothing to read ({percent(p)})"
            answers.append(Answer(path, text, {text: p}, said, places=places))
        return answers

    def under(self, rules: Rules, side: Mapping[str, str]) -> Under:
        """As `Task.under`."""
        from kenspeckle.tasks.under_lines import LinesUnder

        return LinesUnder(self, rules)

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`examples`; and `strangers`: characters of true lines that were never learned."""
        true = set("".join(str(label) for label in labels))
        found = super().details(answers, labels, groups)
        return {**found, "strangers": sorted(true - set(self.classes))}

    def kept(self) -> dict[str, Any]:
        """How it reads, and how long a line may be."""
        return {"reader": self.reader, "longest": self.longest}
