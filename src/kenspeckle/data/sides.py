"""How large images are before any of them is decoded, so that small ones are not enlarged."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from kenspeckle.data.dataset import Dataset
from kenspeckle.data.source import ArrayRow, Source
from kenspeckle.errors import UnreadableImage

LOOKED_AT = 25


def typical_side(dataset: Dataset) -> int | None:
    """The median of the longer sides of 25 images, in pixels; None if none is known."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, LOOKED_AT).astype(int))
    sides = [side for row in rows if (side := _side(dataset.samples[row].source)) is not None]
    return int(np.median(sides)) if sides else None


def _side(source: Source) -> int | None:
    """From the header alone; what is damaged is found later, when it is decoded."""
    if isinstance(source, ArrayRow):
        return max(source.pixels().shape[:2])
    try:
        content = source.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                return max(image.size)
    except (UnreadableImage, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
