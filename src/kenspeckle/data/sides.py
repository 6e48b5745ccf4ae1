"""How large images are before any of them is decoded, so that small ones are not enlarged."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from kenspeckle.data.dataset import Dataset
from kenspeckle.data.source import ArrayRow, Source
from kenspeckle.errors import UnreadableImage

LOOKED_AT = 100


def typical_side(dataset: Dataset) -> int | None:
    """The median of the longer sides of 100 images, in pixels; None if none is known."""
    sides = [max(size) for size in _sizes(dataset)]
    return int(np.median(sides)) if sides else None


def typical_shape(dataset: Dataset) -> tuple[int, int] | None:
    """Height in pixels, and a width for it that 19 in 20 of 100 images fit into whole."""
    sizes = _sizes(dataset)
    if not sizes:
        return None
    height = np.median([high for _, high in sizes])
    return int(height), int(np.ceil(height * np.quantile([w / h for w, h in sizes], 0.95)))


def _sizes(dataset: Dataset) -> list[tuple[int, int]]:
    """Width and height of some images, as they are stored."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, LOOKED_AT).astype(int))
    found = (_size(dataset.samples[row].source) for row in rows)
    return [size for size in found if size is not None]


def _size(source: Source) -> tuple[int, int] | None:
    """From the header alone; what is damaged is found later, when it is decoded."""
    if isinstance(source, ArrayRow):
        high, wide = source.pixels().shape[:2]
        return wide, high
    try:
        content = source.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                return image.size
    except (UnreadableImage, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
