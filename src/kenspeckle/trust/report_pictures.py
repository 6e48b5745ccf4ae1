"""Pictures inside a report: small, as text of the page, and under their heat."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.trust.png import png

THUMBNAIL = 160  # pixels a side
NEAREST = 64  # pixels a side, of the training images most like one
SMALL = 64  # pixels; up to here a picture is stored without loss and its pixels shown as squares

Picture = NDArray[np.uint8]
Heat = NDArray[np.float32]


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI, its size in pixels, and whether its pixels are shown as squares."""

    uri: str
    width: int
    height: int
    is_small: bool


def thumbnail(picture: Picture | None, side: int = THUMBNAIL) -> Thumbnail | None:
    """A picture (H, W, 1 or 3) of at most `side` pixels a side; None stays None."""
    if picture is None:
        return None
    image = _image(picture)
    is_small = max(image.size) <= SMALL
    image.thumbnail((side, side))
    return _embedded(image, is_small)


def whole_picture(picture: Picture | None) -> Thumbnail | None:
    """A picture (H, W, 1 or 3) or a film (T, H, W, 1 or 3), without loss; None stays None."""
    if picture is None:
        return None
    high, wide = picture.shape[-3:-1]
    return Thumbnail(_address("png", png(picture)), wide, high, True)


def _image(picture: Picture) -> Image.Image:
    pixels = picture[..., 0] if picture.shape[2] == 1 else picture
    return Image.fromarray(np.ascontiguousarray(pixels))


def _embedded(image: Image.Image, is_small: bool) -> Thumbnail:
    content = io.BytesIO()
    if is_small:
        image.save(content, "PNG", optimize=True)
    else:
        image.save(content, "JPEG", quality=85)
    kind = "png" if is_small else "jpeg"
    return Thumbnail(_address(kind, content.getvalue()), *image.size, is_small)


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def under_heat(picture: Picture | None, heat: Heat | None) -> Picture | None:
    """The picture in grey with the heat's colours over it, (H, W, 3), as `ken explain` draws it.

    None without a picture, without a heat, or where the heat is 0 everywhere: then no place speaks
    for the class.

    Args:
        picture: (H, W, 1 or 3).
        heat: (h, w) in [0, 1]; stretched to the picture's size where it has another.
    """
    if picture is None or heat is None or not heat.any():
        return None
    import matplotlib  # takes 0.3 s to import

    height, width = picture.shape[:2]
    if heat.shape != (height, width):
        stretched = Image.fromarray(np.asarray(heat, np.float32)).resize((width, height))
        heat = np.clip(np.asarray(stretched), 0, 1)
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    # Where there is no heat the picture stays visible, in grey, so the object's outline is kept.
    grey = picture.mean(2, keepdims=True).repeat(3, 2)
    share = 0.25 + 0.5 * heat[..., None]
    return np.asarray(grey * (1 - share) + colours * share).astype(np.uint8)
