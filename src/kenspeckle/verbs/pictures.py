"""Pictures that a verb leaves behind, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.files import write_bytes
from kenspeckle.trust.png import png

GAP_PX = 2  # between the images of a sheet


def as_png(path: Path, pixels: NDArray[np.uint8], facts: Mapping[str, str] | None = None) -> None:
    """Write (H, W, 1 or 3), or a film (T, H, W, 1 or 3), as a PNG, with facts in its text.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    write_bytes(path, png(pixels, facts))


def grey_png(path: Path, values: NDArray[np.float32]) -> None:
    """Write (H, W) numbers of 0..255 as a grey PNG, rounded and cut off at 255."""
    as_png(path, np.clip(np.round(values), 0, 255).astype(np.uint8)[..., None])


def row_a_class(drawn: Tensor, classes: int, rows: int, across: int) -> NDArray[np.uint8]:
    """The first images of the first classes, a row each, where image k K + c is of class c."""
    return grid([drawn[c::classes][:across] for c in range(min(rows, classes))])


def grid(rows: Sequence[Tensor]) -> NDArray[np.uint8]:
    """Images in rows from the upper left, a white line between them: (H, W, C).

    Args:
        rows: each (n, C, S, S) uint8, all with the same C and S.

    >>> import torch
    >>> grid([torch.zeros(3, 1, 28, 28), torch.zeros(2, 1, 28, 28)]).shape
    (58, 88, 1)
    """
    channels, side = rows[0].shape[1:3]
    step = side + GAP_PX
    high, wide = len(rows) * step - GAP_PX, max(map(len, rows)) * step - GAP_PX
    sheet = np.full((high, wide, channels), 255, dtype=np.uint8)
    for down, images in enumerate(rows):
        for across, image in enumerate(images):
            top, left = down * step, across * step
            sheet[top : top + side, left : left + side] = image.permute(1, 2, 0).numpy()
    return sheet
