"""Reading under rules of what a line may be: unlabelled lines teach too, answers are permitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch, Rows
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.strings import code_points
from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge.ctc import ctc_log_sum
from kenspeckle.knowledge.rules import Rules
from kenspeckle.knowledge.scan import NEVER
from kenspeckle.models.reader import ColumnReader
from kenspeckle.tasks.read import Read, Reader
from kenspeckle.tasks.task import Choices, Sizes
from kenspeckle.tasks.under_lines import LinesUnder

UNSEEN = -1  # in place of a code point: nobody says what the line is


class RuledRead(Read):
    """Lines that a text of a rules file permits.

    The loss of a line that is told is CTC's, as without rules; of one that nobody told it is
    -log p(it is permitted), over all lines and all ways in which the columns can say them, divided
    by the characters of the shortest.

    Args:
        rules: as `Rules.kept` writes it; with a section `text`.
        (the others as in `Read`)
    """

    learns_unlabelled: ClassVar[bool] = True
    rules: Rules

    def __init__(self, classes: Sequence[str], *, rules: Mapping[str, Any], **others: Any) -> None:
        super().__init__(classes, **others)
        self.rules = Rules.carried(rules)

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> RuledRead:
        """With the characters of the lines that are told.

        Raises:
            DataError: no line is told.
            UsageError: no permitted line can be written, or lines that nobody told are given to a
                reader that is not by columns.
        """
        told = [i for i in learned if used.samples[i].label is not None]
        if not told:
            raise DataError(f"No line of {used.root} is told, so no character can be learned.")
        if choices.head == "decoder" and len(told) < len(learned):
            raise UsageError(
                "Only a reader by columns learns from lines that nobody told. Train with --head "
                f"ctc, or tell the {len(learned) - len(told)} lines."
            )
        task = cast(RuledRead, super().for_data(used, told, choices))
        assert task.lines is not None  # refused here, not after the first epoch
        return task

    @cached_property
    def lines(self) -> LinesUnder:
        """What it may say."""
        return LinesUnder(self, self.rules)

    def is_whole(self, label: str | None) -> bool:
        """Whether somebody says the line."""
        return label is not None

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N, U) code points, zeros after the end; `UNSEEN` first where nobody says the line."""
        points = code_points([label or " " for label in labels])
        unseen = torch.tensor([label is None for label in labels])
        points[unseen] = 0
        points[unseen, 0] = UNSEEN
        return points

    def loss(self, network: Reader, batch: Batch, player: str) -> Tensor:
        """The mean over lines that are told and that are not, weighted."""
        unseen = batch.targets[:, 0] == UNSEEN
        each = batch.weights.new_zeros(len(unseen))
        if not bool(unseen.all()):
            losses = network.losses(batch.images[~unseen], batch.targets[~unseen])
            each = each.masked_scatter(~unseen, losses.to(each.dtype))
        if bool(unseen.any()):
            losses = self._surprise(cast(ColumnReader, network), batch.images[unseen])
            each = each.masked_scatter(unseen, losses.to(each.dtype))
        return (each * batch.weights).sum() / batch.weights.sum()

    def _surprise(self, network: ColumnReader, images: Tensor) -> Tensor:
        """(B,) -log p(permitted), a character; 0 where no permitted line fits into the columns."""
        log_p = network.logits(images).float().log_softmax(2)
        lengths = torch.full((len(log_p),), log_p.shape[1], device=log_p.device)
        found = ctc_log_sum(log_p, lengths, self.lines.any)
        shortest = max(1, len(self.lines.any.shortest() or ()))
        return -torch.where(found > NEVER / 2, found, torch.zeros_like(found)) / shortest

    def answered(
        self, network: Reader, images: Rows, paths: Sequence[str], sizes: Sizes
    ) -> list[Answer]:
        """Permitted lines."""
        batch = images[torch.arange(len(paths))]
        outputs = network(batch)
        return self.lines.answers(network, batch, outputs, self.decode(outputs, paths, sizes))

    def kept(self) -> dict[str, Any]:
        """How it reads, how long a line may be, and the rules."""
        return {**super().kept(), "rules": self.rules.kept()}
