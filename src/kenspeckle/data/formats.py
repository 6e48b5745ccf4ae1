"""An image as a file that everybody can open: JPEG, WebP or AVIF, at the quality that is wanted."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.data.read import decode

BEST = 100  # the highest quality of each format
MOST_PSNR = 100.0  # dB: what two equal images are said to have

# Each as good as Pillow writes it in reasonable time, and AVIF tuned for what is compared here:
# its default is tuned for the eye and takes 8 % more bytes at equal PSNR (six photographs).
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "jpeg": {"format": "JPEG", "optimize": True, "subsampling": "4:2:0"},
    "webp": {"format": "WEBP", "method": 6},
    "avif": {"format": "AVIF", "codec": "aom", "advanced": {"tune": "psnr"}},
}
SUFFIXES: Mapping[str, str] = {"jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}
NAMES: Mapping[str, str] = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


@dataclass(frozen=True)
class Written:
    """A file of an image.

    Args:
        content: all its bytes.
        quality: as its format counts, 1..100.
        psnr: of what a reader sees, in dB.
    """

    content: bytes
    quality: int
    psnr: float


@cache
def formats() -> tuple[str, ...]:
    """Those of jpeg, webp and avif that this Pillow can write.

    >>> formats()[0]
    'jpeg'
    """
    return tuple(name for name in _OPTIONS if _can_write(name))


def written(pixels: NDArray[np.uint8], name: str, quality: int) -> Written:
    """An image in a format.

    Args:
        pixels: (H, W, 1 or 3) uint8.
        name: one of `formats`.
        quality: 1..100.
    """
    content = _content(pixels, name, quality)
    return Written(content, quality, psnr(pixels, decode(content).pixels))


def reaching(pixels: NDArray[np.uint8], name: str, wanted: float) -> Written:
    """The file of the lowest quality that comes as near to the image as is wanted.

    Where none does, it is that of the highest quality. Found by halving, which takes 7 files, since
    a higher quality is nearer.

    Args:
        wanted: PSNR in dB.
    """
    found = written(pixels, name, BEST)
    low, high = 1, BEST
    while found.psnr >= wanted and low < high:
        middle = (low + high) // 2
        tried = written(pixels, name, middle)
        if tried.psnr >= wanted:
            found, high = tried, middle
        else:
            low = middle + 1
    return found


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """How near two images (H, W, 1 or 3) are, in dB: 10 log10(255^2 / mean squared error).

    >>> black = np.zeros((2, 2, 1), np.uint8)
    >>> psnr(black, black), psnr(black, black + 255), round(psnr(black, black + 1), 2)
    (100.0, 0.0, 48.13)
    """
    error = float(np.square(one.astype(np.float64) - other).mean())
    return min(MOST_PSNR, 10 * math.log10(255**2 / error)) if error else MOST_PSNR


def _content(pixels: NDArray[np.uint8], name: str, quality: int) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    image.save(file, quality=quality, **_OPTIONS[name])
    return file.getvalue()


def _can_write(name: str) -> bool:
    try:
        _content(np.zeros((8, 8, 3), np.uint8), name, 50)
    except (KeyError, OSError, ValueError):  # built without the format, or with another encoder
        return False
    return True
