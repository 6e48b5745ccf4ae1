"""How an image becomes a square, or a rectangle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY = 128  # what `pad` fills with: the middle of 0..255
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How an image becomes a square, or a rectangle.

    Args:
        size: pixels a side; from top to bottom of a rectangle.
        mode: `pad` resizes it whole, keeps its shape and fills the rest with mid grey (128);
            `stretch` resizes it whole and changes its shape; `crop` fills the square and loses
            what lies outside the middle.
        across: pixels from left to right; None is a square.
        looks: what is seen of a clip: how each frame differs from the one before, or frames.
    """

    size: int
    mode: Literal["pad", "stretch", "crop"] = "pad"
    across: int | None = None
    looks: Literal["changes", "frames"] = "changes"

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"sides of {self.shape} pixels")

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels from top to bottom and from left to right."""
        return self.size, self.size if self.across is None else self.across

    @property
    def name(self) -> str:
        """What tells it from others in the name of a file."""
        sides = f"{self.size}" if self.across is None else f"{self.size}x{self.across}"
        return f"{sides}-{self.mode}"

    def turned(self) -> Fit:
        """The same for an image that lies on its side."""
        high, wide = self.shape
        return Fit(wide, self.mode, high)

    def inner(self, width: float, height: float) -> tuple[int, int]:
        """Width and height that an image's content has inside the square; 1 or more.

        >>> Fit(224).inner(4000, 3000), Fit(32, across=128).inner(200, 100)
        ((224, 168), (64, 32))
        """
        high, wide = self.shape
        if self.mode != "pad":
            return wide, high
        scale = min(wide / width, high / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def box(self, box: Box) -> Box:
        """The part of `box` that is kept.

        >>> Fit(224, "crop").box((0, 0, 400, 300))
        (50.0, 0.0, 350.0, 300.0)
        """
        if self.mode != "crop":
            return box
        width, height = box[2] - box[0], box[3] - box[1]
        high, wide = self.shape
        scale = min(width / wide, height / high)
        across, down = wide * scale, high * scale
        left, top = box[0] + (width - across) / 2, box[1] + (height - down) / 2
        return left, top, left + across, top + down

    def shares(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Boxes in pixels of an original -> in shares of what the network sees, in [0, 1].

        Args:
            boxes: (N, 4) left, top, right, bottom.
            size: width and height of the original.

        >>> Fit(100).shares(np.array([[0.0, 0.0, 200.0, 50.0]]), (200, 100)).tolist()
        [[0.0, 0.25, 1.0, 0.5]]
        """
        scale, shift = self._onto(size)
        return boxes * scale + shift

    def pixels(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """`shares` undone, cut to the original's edges."""
        scale, shift = self._onto(size)
        limits = np.array([*size, *size], dtype=np.float64)
        return np.clip((boxes - shift) / scale, 0, limits)

    def _onto(self, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Factor and shift (4,) from pixels of an original to shares."""
        kept = self.box((0.0, 0.0, float(size[0]), float(size[1])))
        across, down = kept[2] - kept[0], kept[3] - kept[1]
        inner = self.inner(across, down)
        high, wide = self.shape
        scale = np.array([inner[0] / across / wide, inner[1] / down / high])
        left = ((wide - inner[0]) // 2) / wide - kept[0] * scale[0]
        top = ((high - inner[1]) // 2) / high - kept[1] * scale[1]
        return np.tile(scale, 2), np.array([left, top, left, top])


def resized(image: Image.Image, fit: Fit, box: Box) -> Image.Image:
    """What `box` of `image` (L or RGB) shows, at the size it has inside the square."""
    # Bicubic is what the packaged ImageNet weights were trained with, and costs what bilinear does
    # after a draft. Halving first (reducing_gap) takes 82 ms instead of 136 ms for a 12-megapixel
    # image that has no draft, 53 dB from doing without.
    size = fit.inner(box[2] - box[0], box[3] - box[1])
    kept = fit.box(box)
    if size == image.size and kept == (0, 0, *size):
        return image
    return image.resize(size, Image.Resampling.BICUBIC, box=kept, reducing_gap=3.0)


def square(pixels: NDArray[np.uint8], fit: Fit) -> NDArray[np.uint8]:
    """`fit.shape` and channels: (H, W, C) content of at most that size in the middle of grey."""
    height, width, channels = pixels.shape
    high, wide = fit.shape
    if (height, width) == (high, wide):
        return pixels
    filled = np.full((high, wide, channels), GREY, dtype=np.uint8)
    top, left = (high - height) // 2, (wide - width) // 2
    filled[top : top + height, left : left + width] = pixels
    return filled
