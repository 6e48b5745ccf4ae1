"""`explain`: a picture of where an answer comes from, and the training images most like it."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.data.read import read_image
from kenspeckle.data.source import File
from kenspeckle.errors import UsageError, nearest
from kenspeckle.files import write_bytes
from kenspeckle.verbs.model import Model

SHOWN_PX = 448  # the network's square, enlarged for the eye


def explain(model: Model, image: Path, output: Path, label: str | None = None) -> str:
    """Write a PNG of the image beside its heat map; returns the answer in words.

    Args:
        label: the class to explain; None is the likeliest.

    Raises:
        UnreadableImage: the file cannot be read.
        UsageError: there is no such class.
    """
    if label is not None and label not in model.classes:
        raise UsageError(f"The model has no class '{label}'{nearest(label, model.classes) or '.'}")
    pixels = read_image(File(image), model.fit).pixels
    heat = model.explain(image, label)
    answer = model.predict(image)[0]
    write_bytes(output, _png(side_by_side(pixels, heat)))
    return answer.words


def side_by_side(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The square as the network saw it, and the same under its heat: (S, 2 S, 3)."""
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    # Where there is no heat the picture stays visible, in grey, so the object's outline is kept.
    grey = pixels.mean(2, keepdims=True).repeat(3, 2)
    share = 0.25 + 0.5 * heat[..., None]
    mixed = (grey * (1 - share) + colours * share).astype(np.uint8)
    return np.concatenate([pixels, mixed], axis=1)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(pixels)
    scale = SHOWN_PX / picture.height
    if scale > 1:
        size = (round(picture.width * scale), SHOWN_PX)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
