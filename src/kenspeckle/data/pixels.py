"""Decoded images that are fetched by number."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.pool import Pool

IN_MEMORY_BYTES = 1 << 30  # up to here images are gathered from memory, above from the file


class Pixels:
    """Images that are fetched by number, from memory where they fit, else from mapped files.

    Args:
        pools: of grey (H, W, 1) and of colour (H, W, 3) pictures.
        is_grey: (N,) which pool image i is in.
        places: (N,) its row there.
    """

    def __init__(
        self,
        pools: tuple[Pool, Pool],
        is_grey: NDArray[np.bool_],
        places: NDArray[np.int64],
        shape: tuple[int, int],
    ) -> None:
        self._grey, self._colour = pools
        self._is_grey, self._places, self.shape = is_grey, places, shape
        self.channels = 1 if bool(is_grey.all()) else 3
        self._all: Tensor | None = None
        if len(places) * math.prod(shape) * self.channels <= IN_MEMORY_BYTES:
            self._all = self._gather(np.arange(len(places)))

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Pixels:
        """Pixels of (N, H, W, C) images that are in memory already."""
        pixels = cls.__new__(cls)
        pixels.shape, pixels.channels = images.shape[1:3], images.shape[3]
        pixels._all = torch.from_numpy(images)
        return pixels

    def __len__(self) -> int:
        return len(self._places) if self._all is None else len(self._all)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(b, channels, H, W) uint8, channels last in memory."""
        images = self._gather(rows.numpy()) if self._all is None else self._all[rows]
        return images.permute(0, 3, 1, 2)

    def tensor(self) -> Tensor:
        """All of them, (N, channels, H, W) uint8, in memory."""
        return self[torch.arange(len(self))]

    def _gather(self, rows: NDArray[np.int64]) -> Tensor:
        out = np.empty((len(rows), *self.shape, self.channels), dtype=np.uint8)
        grey, places = self._is_grey[rows], self._places[rows]
        if grey.any():
            out[grey] = self._grey.take(places[grey])  # one channel spreads over three
        if not grey.all():
            out[~grey] = self._colour.take(places[~grey])
        return torch.from_numpy(out)
