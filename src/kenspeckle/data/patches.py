"""Squares cut out of images of any size, fetched by number like images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.batch import Rows
from kenspeckle.errors import EmptyDataset, UsageError

VIEWS = 4  # times that an epoch goes over each pixel, where that is less
LEAST_PATCHES = 1000
MEGAPIXELS = 100.0  # 300 MB of colour: what is kept of a folder of photos


@dataclass(frozen=True, eq=False)
class Patches:
    """`length` squares of `size` pixels out of images that keep their own sizes.

    Which image square number i is from, and where it lies, depends on (seed, i) alone. Images are
    drawn in proportion to the squares they hold side by side, so that every pixel is seen about
    equally often. Smaller images are reflected at their right and bottom edges.

    Args:
        images: (H, W), (H, W, 1) or (H, W, 3) uint8 each, in memory or memory-mapped.
        size: pixels a side.
        length: how many squares there are: what an epoch goes over.
        seed: of the places.

    Raises:
        EmptyDataset: there is no image, or one without pixels.
        UsageError: an image of another shape or kind, or a size or length below 1.

    >>> small, large = np.zeros((40, 30), np.uint8), np.zeros((90, 100, 3), np.uint8)
    >>> patches = Patches([small, large], 64, 1000)
    >>> patches[torch.tensor([0, 999])].shape
    torch.Size([2, 3, 64, 64])
    """

    images: Sequence[NDArray[np.uint8]]
    size: int = 64
    length: int = 20_000
    seed: int = 0
    _ends: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 1 or self.length < 1:
            raise UsageError(
                f"Patches need a size and a number of 1 or more; found {self.size} and "
                f"{self.length}."
            )
        if len(self.images) == 0:
            raise EmptyDataset("There is no image to cut patches from.")
        for number, image in enumerate(self.images):
            _check(image, number)
        squares = [
            -(-image.shape[0] // self.size) * -(-image.shape[1] // self.size)
            for image in self.images
        ]
        object.__setattr__(self, "_ends", np.cumsum(squares, dtype=np.int64))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(b, 3, size, size) uint8."""
        squares = np.stack([self._square(row) for row in rows.tolist()])
        return torch.from_numpy(squares).permute(0, 3, 1, 2)

    def _square(self, row: int) -> NDArray[np.uint8]:
        random = np.random.default_rng([self.seed, row])
        drawn = random.integers(self._ends[-1])
        image = self.images[int(np.searchsorted(self._ends, drawn, side="right"))]
        return _coloured(_reflected(_window(image, self.size, self.size, random), self.size))


def cut_out(images: Rows, size: int, most: int, seed: int) -> Patches:
    """Patches out of images that can be fetched one at a time, in proportion to what they hold.

    Args:
        size: pixels a side.
        most: how many an epoch goes over, at most.
    """
    whole = [images[torch.tensor([row])][0].permute(1, 2, 0).numpy() for row in range(len(images))]
    views = VIEWS * sum(image[..., 0].size for image in whole) // size**2
    return Patches(whole, size, min(max(views, LEAST_PATCHES), most), seed)


def within_budget(
    read: Callable[[int], NDArray[np.uint8]],
    count: int,
    size: int,
    megapixels: float = MEGAPIXELS,
    seed: int = 0,
) -> list[NDArray[np.uint8]]:
    """As much of a folder of images as the memory is to hold, every image equally.

    An image with more than its share of pixels is cut to a window of that share, of its own shape,
    at a place that depends on (seed, number); nothing is made smaller, which would change its
    sharpness and its noise. Where the share is below one square of `size`, only some of the images
    are read, spread evenly over all.

    Args:
        read: the pixels of image number i in 0..count-1, as for `Patches`.
        count: of images.
        size: pixels a side of the patches to come.
        megapixels: kept in all.

    Returns:
        At most `count` arrays, each a copy of its own.

    Raises:
        EmptyDataset: there is no image.
        UsageError: the budget does not hold one square.

    >>> kept = within_budget(lambda number: np.zeros((400, 600), np.uint8), 10, 64, megapixels=0.6)
    >>> len(kept), kept[0].shape
    (10, (200, 300))
    """
    if count < 1:
        raise EmptyDataset("There is no image to cut patches from.")
    most = int(megapixels * 1e6 // size**2)
    if most < 1:
        raise UsageError(
            f"A budget of {megapixels:g} megapixels does not hold one patch of {size} x {size}; "
            "allow more, or make the patches smaller."
        )
    used = min(count, most)
    share = megapixels * 1e6 / used
    kept = []
    for number in np.arange(used) * count // used:
        image = read(int(number))
        height, width = image.shape[:2]
        scale = min(1.0, (share / (height * width)) ** 0.5)
        random = np.random.default_rng([seed, int(number)])
        window = _window(image, max(1, int(scale * height)), max(1, int(scale * width)), random)
        kept.append(window.copy())
    return kept


def _check(image: NDArray[np.uint8], number: int) -> None:
    is_shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))
    if not is_shaped or image.dtype != np.uint8:
        raise UsageError(
            f"Patches are cut from (H, W), (H, W, 1) or (H, W, 3) images of uint8; image {number} "
            f"is {image.shape} of {image.dtype}."
        )
    if image.size == 0:
        raise EmptyDataset(f"Image {number} has no pixels: its shape is {image.shape}.")


def _window(
    image: NDArray[np.uint8], height: int, width: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """A part of at most height x width at a random place."""
    top = random.integers(max(0, image.shape[0] - height) + 1)
    left = random.integers(max(0, image.shape[1] - width) + 1)
    return image[top : top + height, left : left + width]


def _reflected(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    missing = [(0, size - side) for side in image.shape[:2]]
    if not any(after for _, after in missing):
        return image
    # Symmetric, the edge pixel twice: the only reflection that one row of pixels has.
    return np.pad(image, [*missing, *[(0, 0)] * (image.ndim - 2)], mode="symmetric")


def _coloured(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 2:
        image = image[..., None]
    return np.broadcast_to(image, (*image.shape[:2], 3))
