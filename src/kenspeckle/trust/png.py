"""Pictures and films as PNG, without loss; every browser shows both."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

FRAME_MS = 500
LAST_MS = 3000  # the last frame of a film stays


def png(pixels: NDArray[np.uint8], facts: Mapping[str, str] | None = None) -> bytes:
    """A picture (H, W, 1 or 3), or a film (T, H, W, 1 or 3) that repeats, as an (animated) PNG.

    Args:
        facts: name -> text, written into the file.

    >>> png(np.zeros((2, 4, 4, 1), np.uint8), {"synthetic": "yes"})[:4]
    b'\\x89PNG'
    """
    info = PngImagePlugin.PngInfo()
    for name, text in (facts or {}).items():
        info.add_text(name, text)
    frames = pixels if pixels.ndim == 4 else pixels[None]
    first, *rest = [Image.fromarray(f[..., 0] if f.shape[2] == 1 else f) for f in frames]
    content = io.BytesIO()
    if not rest:
        first.save(content, "PNG", pnginfo=info, optimize=True)
        return content.getvalue()
    held = [FRAME_MS] * len(rest) + [LAST_MS]
    first.save(
        content,
        "PNG",
        pnginfo=info,
        save_all=True,
        append_images=rest,
        duration=held,
        loop=0,
    )
    return content.getvalue()
