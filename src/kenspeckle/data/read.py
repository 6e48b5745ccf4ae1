"""One image file turned into upright 8-bit pixels, or a plain reason why it cannot be."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from kenspeckle.data.fit import Box, Fit, resized, square
from kenspeckle.data.modes import INKS, SCALED, TRANSPARENT, plain
from kenspeckle.data.quiet import hush_pillow, silent_stderr
from kenspeckle.data.source import ArrayRow, Source
from kenspeckle.data.synthetic import is_marked
from kenspeckle.errors import UnreadableImage

__all__ = [
    "FORMATS",
    "FRAMES",
    "NOTES",
    "SYNTHETIC",
    "UPRIGHT",
    "Fit",
    "Picture",
    "decode",
    "from_array",
    "read_bytes",
    "read_image",
]

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "HEIF", "ARRAY")
UPRIGHT = "turned upright (EXIF orientation)"
FRAMES = "first of several frames"
SYNTHETIC = "drawn by a network (the file says so)"
NOTES = (UPRIGHT, FRAMES, SCALED, TRANSPARENT, INKS, SYNTHETIC)
"""Every note a `Picture` can carry; the cache stores them as bits in this order."""

MAX_PIXELS = 64 * 2**20  # 192 MB as RGB; a 64-megapixel telephone photo is 9248 x 6936
MAX_DRAFT_PIXELS = 256 * 2**20  # baseline JPEG is shrunk while it is decoded, row by row
MAX_SIDE = 65535

# Pillow keeps one limit for the whole process, warns above it and refuses above twice of it.
# Changing it around each call would race between threads, so it is raised once to where Pillow
# refuses exactly what is refused here at the latest; the finer limits are checked after opening.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_DRAFT_PIXELS // 2)

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels of one image, upright.

    Args:
        pixels: (H, W, C) uint8; C is 1 where the file is grey, else 3.
        width, height: of the original, after it was turned upright.
        format: one of `FORMATS`, by the file's content.
        notes: what had to be done to it, each one of `NOTES`.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    notes: tuple[str, ...] = ()


def read_image(source: Source, fit: Fit | None = None) -> Picture:
    """The pixels of `source`, fitted into a square if `fit` is given.

    Raises:
        UnreadableImage: with the reason.
    """
    if isinstance(source, ArrayRow):
        return from_array(source.pixels(), fit)
    return decode(read_bytes(source), fit)


def read_bytes(source: Source) -> bytes:
    """The bytes of `source`; for a row of an array, those of its pixels.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        return source.read()
    except OSError as error:
        text = f"the file cannot be read ({error.strerror or error})"
        raise UnreadableImage("missing", text) from None
    except (zlib.error, EOFError):
        raise UnreadableImage("corrupt", "the archive is damaged here") from None


def from_array(pixels: NDArray[np.uint8], fit: Fit | None = None) -> Picture:
    """(H, W, C) uint8 pixels as they are, fitted into a square if `fit` is given."""
    height, width, channels = pixels.shape
    if fit is not None and (height, width) != fit.shape:
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        pixels = square(_array(resized(image, fit, (0, 0, width, height))), fit)
    return Picture(pixels, width, height, "ARRAY")


def decode(content: bytes, fit: Fit | None = None) -> Picture:
    """The first picture in an image file's bytes; safe to call from several threads.

    The format is told by content, never by name. EXIF orientation is applied; colour profiles are
    not. Everything that `plain` says about transparency and deep pixels holds.

    Raises:
        UnreadableImage: with the reason; nothing else, and nothing is printed.
    """
    _refuse_what_is_no_image(content)
    hush_pillow()
    try:
        if _is_heif(content):
            return _decode_heif(content, fit)
        return _decode_pillow(content, fit)
    except UnreadableImage:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly every built-in error
        raise _explained(error, content) from None


def _refuse_what_is_no_image(content: bytes) -> None:
    if not content:
        raise UnreadableImage("empty", "the file is empty")
    if content.startswith(b"version https://git-lfs"):
        raise UnreadableImage(
            "lfs_pointer",
            "this is a Git LFS pointer, not the image itself; run `git lfs pull` to fetch it",
        )


def _check_png(content: bytes) -> None:
    """Compare the checksum of every pixel chunk; Pillow checks the others only."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 8 + length
        if content[at + 4 : at + 8] == b"IDAT" and end + 4 <= len(content):
            found = zlib.crc32(memoryview(content)[at + 4 : end])
            if found != int.from_bytes(content[end : end + 4], "big"):
                raise UnreadableImage("corrupt", "the file is damaged: a checksum does not match")
        at = end + 4


def _explained(error: Exception, content: bytes) -> UnreadableImage:
    """What Pillow stumbled over, as one short sentence with a reason code."""
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        known = content.startswith(_MAGIC) or content[8:12] in (b"WEBP", b"avif", b"avis")
        if known:
            return UnreadableImage("corrupt", "the file is damaged: its header makes no sense")
        return UnreadableImage("not_an_image", "the file is not an image of a known format")
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return UnreadableImage("too_many_pixels", "the image needs more memory than is allowed")
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return UnreadableImage("truncated", "the file breaks off before the image is complete")
    return UnreadableImage("corrupt", f"the file is damaged ({text[:120]})")


def _decode_pillow(content: bytes, fit: Fit | None) -> Picture:
    with Image.open(io.BytesIO(content), formats=FORMATS[:8]) as image:
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        _check_size(image.size, _drafts(image, fit))
        if kind == "PNG":
            _check_png(content)
        original, box = image.size, (0.0, 0.0, float(image.width), float(image.height))
        bits = _bits(image, content)
        notes: tuple[str, ...] = (
            (FRAMES,) if kind != "JPEG" and getattr(image, "is_animated", False) else ()
        )
        if fit is not None:
            box = _draft(image, fit) or box
            _check_size(image.size, False)
        _load(image)
        turn = _TURNS.get(_orientation(image))
        pixels, more = plain(image, bits)
    if turn is not None:
        notes += (UPRIGHT,)
    if is_marked(image.info):
        notes += (SYNTHETIC,)
    return _finished(pixels, fit, box, original, turn, kind, (*notes, *more))


def _finished(
    image: Image.Image,
    fit: Fit | None,
    box: Box,
    size: tuple[int, int],
    turn: Image.Transpose | None,
    kind: str,
    notes: tuple[str, ...],
) -> Picture:
    """Resize first, then turn: the smaller image is quicker to turn."""
    if fit is not None:
        image = resized(image, fit.turned() if turn in _SIDEWAYS else fit, box)
    if turn is not None:
        image = image.transpose(turn)
    width, height = size[::-1] if turn in _SIDEWAYS else size
    pixels = _array(image) if fit is None else square(_array(image), fit)
    return Picture(pixels, width, height, kind, notes)


def _check_size(size: tuple[int, int], drafts: bool) -> None:
    width, height = size
    if max(size) > MAX_SIDE or width * height > (MAX_DRAFT_PIXELS if drafts else MAX_PIXELS):
        raise UnreadableImage(
            "too_many_pixels",
            f"the file says it is {width} x {height} pixels; at most 64 megapixels are read "
            f"(256 of a baseline JPEG that is to be made smaller); save it smaller",
        )
    if min(size) < 1:
        raise UnreadableImage("corrupt", f"the file says it is {width} x {height} pixels")


def _drafts(image: ImageFile.ImageFile, fit: Fit | None) -> bool:
    """A progressive JPEG keeps every coefficient in memory whatever size is asked for."""
    is_baseline = image.format in ("JPEG", "MPO") and "progressive" not in image.info
    return fit is not None and is_baseline


def _bits(image: ImageFile.ImageFile, content: bytes) -> int:
    """Bits of one sample in the file, where transparency or scaling depends on it."""
    if image.format == "PNG":
        return content[24]  # IHDR is the first chunk: 8 signature, 8 chunk header, 4 + 4 sides
    if image.format == "TIFF" and image.mode == "I":
        return int(image.tag_v2.get(258, (32,))[0])  # type: ignore[attr-defined]
    return 16 if image.mode == "I" else 8


def _draft(image: ImageFile.ImageFile, fit: Fit) -> Box | None:
    """Let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, never below twice what is wanted.

    A 12-megapixel photo at 224 px: 25 ms instead of 136 ms, 47 dB from the full decode; with once
    instead of twice the size 42 dB at worst, with three times 53 dB at 32 ms (13 photos, 2 cores).
    """
    fit = Fit(max(fit.shape), fit.mode)  # wide enough whichever way the image will be turned
    box = fit.box((0, 0, *image.size))
    scale = min(w / (box[i + 2] - box[i]) for i, w in enumerate(fit.inner(*image.size)))
    wanted = (max(1, int(2 * scale * image.width)), max(1, int(2 * scale * image.height)))
    drafted = image.draft(None, wanted)
    return None if drafted is None else drafted[1]


def _load(image: ImageFile.ImageFile) -> None:
    """Decode; libtiff's own complaints go nowhere."""
    if image.tile and image.tile[0][0] == "libtiff":
        with silent_stderr():
            image.load()
    else:
        image.load()


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF tag 274, 1..8; 1 where it is missing or damaged. Pillow turns TIFFs itself."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata is no reason to refuse sound pixels
        return 1


def _array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.array(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _is_heif(content: bytes) -> bool:
    """HEIC by its `ftyp` box; an AVIF may share the general brands but then names its own too."""
    if content[4:8] != b"ftyp" or content[8:12] not in _HEIF_BRANDS:
        return False
    length = int.from_bytes(content[:4], "big")
    return b"avif" not in content[8 : min(length, 256)]


def _decode_heif(content: bytes, fit: Fit | None) -> Picture:
    try:
        import pi_heif
    except ImportError:
        raise UnreadableImage(
            "needs_extra", "HEIC images need an extra: run `pip install 'kenspeckle[heif]'`"
        ) from None
    opened = pi_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
    _check_size(opened.size, False)
    # libheif applies the file's own turns and mirrors; the EXIF orientation in it is to be ignored.
    image = Image.frombytes(
        opened.mode, opened.size, bytes(opened.data), "raw", opened.mode, opened.stride
    )
    pixels, notes = plain(image, 8)
    return _finished(pixels, fit, (0, 0, *opened.size), opened.size, None, "HEIF", notes)
