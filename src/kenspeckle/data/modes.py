"""Any kind of pixel Pillow can hold, turned into plain grey or plain colour, 8 bits each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.errors import UnreadableImage

SCALED = "16-bit or floating-point levels scaled to 0..255"
TRANSPARENT = "transparency drawn over white"
INKS = "printing inks (CMYK) turned into red, green and blue"


def plain(image: Image.Image, bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """`image` as mode L (grey) or RGB, and notes on what had to be done.

    Transparent pixels are drawn over white. 16-bit grey is divided by 257 and rounded, so that
    65535 becomes 255 (Pillow's own conversion would clip at 255). 16-bit colour arrives from
    Pillow as the high byte, v >> 8: within one level of v / 257. Colour profiles are not applied.

    Args:
        image: loaded.
        bits: a sample's bits in the file, where known; else 8.

    Raises:
        UnreadableImage: `unsupported`, for numbers with no agreed black and white.
    """
    mode = image.mode
    if mode in ("1", "L", "RGB"):
        return _keyed(image if mode != "1" else image.convert("L"), bits)
    if mode == "P":
        return _palette(image)
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _deep(image, bits)
    if mode in ("LA", "RGBA", "RGBa", "La", "PA"):
        return _over_white(image)
    if mode == "CMYK":
        return image.convert("RGB"), (INKS,)
    if mode in ("RGBX", "YCbCr", "HSV"):
        return image.convert("RGB"), ()
    raise UnreadableImage("unsupported", f"pixels of the kind {mode} are not supported")


def _keyed(image: Image.Image, bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Grey or RGB where one level or colour may be declared transparent (PNG's tRNS)."""
    key = image.info.get("transparency")
    if key is None:
        return image, ()
    # The key is in the file's own units: 0..1 in a 1-bit file, 0..65535 in a 16-bit one.
    levels = np.atleast_1d(np.asarray(key, dtype=np.int64))
    levels = levels >> (bits - 8) if bits > 8 else levels * 255 // (2**bits - 1)
    pixels = np.array(image)
    hidden = (pixels.reshape(*pixels.shape[:2], -1) == levels).all(axis=-1)
    pixels[hidden] = 255
    return Image.fromarray(pixels), (TRANSPARENT,)


def _palette(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Look every index up in the palette, whose colours are drawn over white first."""
    table = np.zeros((256, 4), dtype=np.uint16)
    table[:, 3] = 255  # an index beyond the palette is black
    colours = np.array(image.getpalette("RGBA") or [], dtype=np.uint16).reshape(-1, 4)
    table[: len(colours)] = colours[:256]
    _see_through(table, image.info.get("transparency"))
    alpha = table[:, 3:]
    flat = ((table[:, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    indices = np.asarray(image)
    used = np.zeros(256, dtype=np.bool_)
    used[np.unique(indices)] = True
    notes = (TRANSPARENT,) if bool((used & (alpha[:, 0] < 255)).any()) else ()
    return Image.fromarray(flat[indices]), notes


def _see_through(table: NDArray[np.uint16], transparency: object) -> None:
    """Put a palette's transparency, one index (GIF) or a string of alphas (PNG), in column 3."""
    if isinstance(transparency, int) and 0 <= transparency < 256:
        table[transparency, 3] = 0
    elif isinstance(transparency, bytes):
        table[: len(transparency), 3] = np.frombuffer(transparency[:256], dtype=np.uint8)


def _over_white(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    grey = image.mode in ("LA", "La")
    image = image.convert("LA" if grey else "RGBA")
    alpha = image.getchannel("A")
    base = image.convert("L" if grey else "RGB")
    if alpha.getextrema() == (255, 255):
        return base, ()
    white = Image.new(base.mode, base.size, 255 if grey else (255, 255, 255))
    white.paste(base, mask=alpha)
    return white, (TRANSPARENT,)


def _deep(image: Image.Image, bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """16-bit grey by 1/257; floating point in [0, 1] by 255; anything else is refused."""
    levels = np.asarray(image)
    low, high = levels.min(), levels.max()
    top = 1.0 if image.mode == "F" else 65535
    known = image.mode != "I" or bits <= 16
    if not (known and low >= 0 and high <= top):  # a NaN fails the comparison too
        kind = "floating-point" if image.mode == "F" else f"{bits}-bit"
        raise UnreadableImage(
            "unsupported",
            f"{kind} levels from {low} to {high} have no agreed black and white; "
            f"save it with levels 0 to 255 or 0 to 65535",
        )
    if image.mode == "F":
        return Image.fromarray(np.rint(levels * 255).astype(np.uint8)), (SCALED,)
    grey = ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if isinstance(key := image.info.get("transparency"), int):
        grey[levels == key] = 255
        return Image.fromarray(grey), (SCALED, TRANSPARENT)
    return Image.fromarray(grey), (SCALED,)
