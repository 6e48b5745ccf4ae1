"""What tasks share that put out pixels: they learn from patches and need no label."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Rows
from kenspeckle.data.dataset import Means, Reads
from kenspeckle.data.patches import cut_out
from kenspeckle.errors import UsageError
from kenspeckle.tasks.task import Sizes, Task

Net = TypeVar("Net", bound=nn.Module)


class PixelTask(Task[Net]):
    """Pixels from pixels, by a network of its own; images are measured, not words."""

    reads: ClassVar[Reads] = "pixels"
    means: ClassVar[Means] = "nothing"
    judges: ClassVar[bool] = False

    @abstractmethod
    def patches(self) -> tuple[int, int]:
        """Pixels a side of a patch, and how many of them an epoch goes over at most."""

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """Nothing is asked of labels: (N,) zeros."""
        return torch.zeros(len(labels))

    def learnable(
        self,
        images: Rows,
        labels: Sequence[str | None],
        weights: Tensor,
        sizes: Sizes,
        seed: int,
    ) -> tuple[Rows, Tensor, Tensor]:
        """Patches out of the images, all alike."""
        cut = cut_out(images, *self.patches(), seed)
        return cut, torch.zeros(len(cut)), torch.ones(len(cut))

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """Images have no answer in words.

        Raises:
            UsageError: always; the task's own command is meant.
        """
        raise UsageError(f"This model has no answers in words: use `ken {self.telling.verb}`.")
