"""Batches in an order that depends on the seed and the epoch alone, so that a run can resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

CROWD = 16  # batches whose sequences are sorted by length together


@dataclass
class Batch:
    """What a network sees at once.

    Args:
        images: (B, C, H, W) uint8 in 0..255 (the network scales them), or, where features are
            cached, the pooled vectors (B, D) float that a head reads.
        targets: what the task's `collate` made of the labels; class numbers (B,) for classify.
        weights: (B,) how much each image counts in the loss.
        rows: (B,) which samples of the dataset these are.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: str | torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(*(part.to(device) for part in vars(self).values()))


class Rows(Protocol):
    """Images that can be fetched by number: a tensor, or a memory-mapped cache."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Chosen:
    """Some rows of a set of images, as a set of images."""

    images: Rows
    chosen: Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.images[self.chosen[rows]]


class Batches:
    """Updates of an epoch; each is a list of batches whose losses are averaged by image.

    The list holds one batch, except with `batch_size="full"`, where an update sees every image in
    pieces of `piece` images (exact accumulation).

    Args:
        images: N images, as `Batch.images`.
        targets: (N,) or (N, ...).
        weights: (N,); None is all ones.
        batch_size: images an update, or "full".
        seed: of the order; None keeps the order (evaluation).
        lengths: (N,) of sequences: batches are then made of those about equally long, since each is
            filled up to its longest. 2040 pen drawings take a third of the time.

    >>> order = Batches(torch.arange(5), torch.zeros(5), batch_size=2, seed=0)
    >>> [len(update[0]) for update in order.epoch(0)]
    [2, 2, 1]
    """

    def __init__(
        self,
        images: Rows,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        batch_size: int | Literal["full"] = 64,
        seed: int | None = None,
        piece: int = 256,
        lengths: Tensor | None = None,
    ) -> None:
        self.images, self.targets = images, targets
        self.weights = torch.ones(len(images)) if weights is None else weights
        self.batch_size, self.seed, self.piece = batch_size, seed, piece
        self.lengths = lengths

    def __len__(self) -> int:
        """Updates an epoch."""
        if self.batch_size == "full":
            return 1
        return -(-len(self.images) // self.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[list[Batch]]:
        """The updates of epoch `number`, leaving out the first `skip` (already done)."""
        n = len(self.images)
        if self.seed is None:
            order = torch.arange(n)
        else:
            random = np.random.default_rng([self.seed, number])
            order = torch.from_numpy(random.permutation(n))
            if self.lengths is not None and self.batch_size != "full":
                order = self._alike(order, self.batch_size, random)
        if self.batch_size == "full":
            if skip == 0:
                yield [self._batch(rows) for rows in order.split(self.piece)]
            return
        for rows in order.split(self.batch_size)[skip:]:
            yield [self._batch(rows)]

    def _alike(self, order: Tensor, size: int, random: np.random.Generator) -> Tensor:
        """The order with neighbours about equally long, batches still in random order."""
        assert self.lengths is not None
        crowds = [crowd[self.lengths[crowd].argsort()] for crowd in order.split(CROWD * size)]
        batches = [batch for crowd in crowds for batch in crowd.split(size)]
        last = batches.pop() if len(batches[-1]) < size else order[:0]
        return torch.cat([*(batches[i] for i in random.permutation(len(batches))), last])

    def _batch(self, rows: Tensor) -> Batch:
        return Batch(self.images[rows], self.targets[rows], self.weights[rows], rows)


def in_pieces(rows: int, size: int) -> Sequence[slice]:
    """Slices that cover 0..rows in pieces of `size`."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
