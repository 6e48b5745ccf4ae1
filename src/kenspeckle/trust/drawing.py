"""What stands where, drawn on the image: outlines and numbers, no text in any script."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kenspeckle.answer import Place

# Okabe and Ito's palette without black and grey: told apart with any colour vision.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
NUMBER_PX = 14
LEAST_FOR_NUMBERS = 24  # pixels a side; into a smaller outline no number fits


def outlined(
    pixels: NDArray[np.uint8], places: Sequence[Place], names: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """The image with an outline around each place, (H, W, 3).

    Args:
        pixels: (H, W, 1 or 3); places are in its pixels.
        names: what has a colour of its own, in order; without names, neighbours differ in colour.
    """
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    pen = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 160))
    number = {name: i for i, name in enumerate(names)}
    font = ImageFont.load_default(NUMBER_PX)
    for i, place in enumerate(places):
        colour = COLOURS[number.get(place.name, i) % len(COLOURS)]
        left, top = max(0, round(place.left)), max(0, round(place.top))
        right = max(left, min(picture.width, round(place.right)) - 1)
        bottom = max(top, min(picture.height, round(place.bottom)) - 1)
        pen.rectangle((left, top, right, bottom), outline=colour, width=line)
        if min(right - left, bottom - top) >= LEAST_FOR_NUMBERS:
            at = (left + line + 2, top + line)
            pen.text(at, str(i + 1), fill=colour, font=font, stroke_width=2, stroke_fill="black")
    return np.asarray(picture)
