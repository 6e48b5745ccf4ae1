"""A sheet for a person: a few images, and what each augmentation makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kenspeckle.data.augment import augment, check_names

CELL_PX = 112  # wide enough for the longest name in the default font at 14 px
TITLE_PX = 24
GAP_PX = 4


def preview_sheet(
    images: Tensor, names: Sequence[str], strength: float = 1.0, cell_px: int = CELL_PX
) -> NDArray[np.uint8]:
    """A row an image; the first column is the original, then one for each name and one for all.

    What is shown is one draw of torch's default generator; another call shows another.

    Args:
        images: (N, C, S, S) uint8 with C of 1 or 3; a few.
        names: of `TRANSFORMS`.
        cell_px: pixels a side of each picture on the sheet.

    Returns:
        (H, W, 3) black on white.

    Raises:
        UsageError: there is no such transform.

    >>> images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    >>> preview_sheet(images, ["flip", "rotate"]).shape
    (256, 460, 3)
    """
    check_names(names)
    columns = {"original": images, **{name: augment(images, [name], strength) for name in names}}
    if len(names) > 1:
        columns["all"] = augment(images, names, strength)
    step = cell_px + GAP_PX
    size = (len(columns) * step - GAP_PX, TITLE_PX + len(images) * step)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for column, (title, changed) in enumerate(columns.items()):
        draw.text((column * step, 2), title, fill="black", font=font)
        for row, image in enumerate(changed):
            sheet.paste(_cell(image, cell_px), (column * step, TITLE_PX + row * step))
    return np.asarray(sheet)


def _cell(image: Tensor, cell_px: int) -> Image.Image:
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).to(torch.uint8).contiguous().numpy()
    # Small images are shown as they are, square by square: blurring them would hide what is done.
    enlarge = image.shape[-1] < cell_px
    way = Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize((cell_px, cell_px), way)
