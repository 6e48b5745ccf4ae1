"""A compressed picture as one run of bytes in which no damage can pass unseen.

    bytes    what
    2        magic, `KC`
    1        version (low four bits) and flags (16: grey)
    1        quality, 1..100
    8        the model: the first bytes of the SHA-256 of its weights
    1..3     height, then width: seven bits a byte, low first, the top bit says that more follow
             with several tiles: of each its length (as above) and its CRC-32
    4        CRC-32 of all that precedes it; with one tile, of the payload after it too
    rest     the tiles' payloads, row by row

One tile costs 18 bytes up to 127 pixels a side, and 20 up to 16383. Numbers of four bytes are
little-endian. A CRC-32 finds every change within 32 neighbouring bits, so every change of one byte,
and misses any other damage once in 4 thousand million.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from kenspeckle.data.read import MAX_PIXELS, MAX_SIDE
from kenspeckle.errors import DataError

__all__ = ["TILE", "CorruptStream", "OtherModel", "Stream", "packed", "tile_boxes", "unpacked"]

MAGIC = b"KC"
VERSION = 1
GREY = 16
TILE = 1024  # pixels a side; a multiple of every stride, so that tiles meet between two latents
ID_BYTES = 8
CRC_BYTES = 4
FIXED = len(MAGIC) + 2 + ID_BYTES
MOST_DIGITS = 5  # of seven bits: 2^35 bytes

Box = tuple[int, int, int, int]


class CorruptStream(DataError):
    """Bytes that are not a compressed picture, or no longer the ones that were written."""


class OtherModel(DataError):
    """A sound stream that was written with another model."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A compressed picture.

    Args:
        model: 8 bytes that tell by which weights the payload was made.
        height, width: of the picture, in pixels; at least 1.
        quality: 1..100.
        is_grey: the picture has one channel.
        tiles: one payload for each of `tile_boxes`.
    """

    model: bytes
    height: int
    width: int
    quality: int
    is_grey: bool
    tiles: tuple[bytes, ...]


def tile_boxes(height: int, width: int) -> list[Box]:
    """(top, left, bottom, right) in pixels of each tile, row by row.

    >>> tile_boxes(1030, 700)
    [(0, 0, 1024, 700), (1024, 0, 1030, 700)]
    """
    return [
        (top, left, min(top + TILE, height), min(left + TILE, width))
        for top in range(0, height, TILE)
        for left in range(0, width, TILE)
    ]


def packed(stream: Stream) -> bytes:
    """The bytes of a stream.

    >>> one = Stream(model=bytes(8), height=2, width=3, quality=50, is_grey=False, tiles=(b"abc",))
    >>> len(packed(one)), unpacked(packed(one)) == one
    (21, True)
    """
    head = MAGIC + bytes([VERSION | GREY * stream.is_grey, stream.quality])
    head += stream.model + _number(stream.height) + _number(stream.width)
    if len(stream.tiles) == 1:
        payload = stream.tiles[0]
        return head + _crc(head, payload) + payload
    head += b"".join(_number(len(tile)) + _crc(tile) for tile in stream.tiles)
    return head + _crc(head) + b"".join(stream.tiles)


def unpacked(content: bytes, model: bytes | None = None) -> Stream:
    """The stream that `packed` made; nothing is allocated for a picture before all is checked.

    Args:
        content: the whole file.
        model: the 8 bytes of the model at hand; None takes a stream of any.

    Raises:
        CorruptStream: a byte was changed, is missing or is too many, or it never was a stream.
        OtherModel: it was written with another model than the one at hand.
    """
    if not content.startswith(MAGIC):
        raise CorruptStream(
            "This is not a picture that `ken compress` wrote: it does not begin with "
            f"{MAGIC.decode()}. Give a file that it wrote."
        )
    if len(content) < FIXED:
        raise _cut(content)
    kind, quality = content[2], content[3]
    if kind & 15 != VERSION or kind & ~(15 | GREY):
        raise CorruptStream(
            f"The compressed picture says it has format {kind & 15} with flags {kind >> 4}; "
            f"format {VERSION} is read here. It is damaged, or needs a newer version of kenspeckle."
        )
    height, at = _read_number(content, FIXED)
    width, at = _read_number(content, at)
    _check_facts(height, width, quality)
    tiles = _checked_tiles(content, at, len(tile_boxes(height, width)))
    found = content[4:FIXED]
    if model is not None and found != model:
        raise OtherModel(
            f"The picture was compressed with model {found.hex()}; the one at hand is "
            f"{model.hex()}. Decompress it with the model that wrote it."
        )
    return Stream(
        model=found,
        height=height,
        width=width,
        quality=quality,
        is_grey=bool(kind & GREY),
        tiles=tiles,
    )


def _checked_tiles(content: bytes, at: int, count: int) -> tuple[bytes, ...]:
    """The payloads, each compared with its checksum; `at` is where the table would begin."""
    table = []
    for _ in range(count if count > 1 else 0):
        length, at = _read_number(content, at)
        table.append((length, content[at : at + CRC_BYTES]))
        at += CRC_BYTES
    start = at + CRC_BYTES
    if start > len(content):
        raise _cut(content)
    if not table:
        if content[at:start] != _crc(content[:at], content[start:]):
            raise _damaged("its checksum does not match")
        return (content[start:],)
    if content[at:start] != _crc(content[:at]):
        raise _damaged("the checksum of its header does not match")
    if start + sum(length for length, _ in table) != len(content):
        raise _cut(content)
    tiles = []
    for number, (length, crc) in enumerate(table, 1):
        tile = content[start : start + length]
        if _crc(tile) != crc:
            raise _damaged(f"the checksum of tile {number} of {count} does not match")
        tiles.append(tile)
        start += length
    return tuple(tiles)


def _check_facts(height: int, width: int, quality: int) -> None:
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise _damaged(
            f"it says it is {width} x {height} pixels, and at most 64 megapixels are read"
        )
    if not 1 <= quality <= 100:
        raise _damaged(f"it says its quality is {quality}, which is not within 1..100")


def _number(value: int) -> bytes:
    """Seven bits a byte, low first."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _read_number(content: bytes, at: int) -> tuple[int, int]:
    """A number and where the next thing begins."""
    value = 0
    for i, digit in enumerate(content[at : at + MOST_DIGITS]):
        value |= (digit & 127) << 7 * i
        if digit < 128:
            return value, at + i + 1
    raise (
        _cut(content) if at + MOST_DIGITS > len(content) else _damaged("its header makes no sense")
    )


def _crc(*parts: bytes) -> bytes:
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
    return total.to_bytes(CRC_BYTES, "little")


def _cut(content: bytes) -> CorruptStream:
    return _damaged(f"it has {len(content)} bytes, which is not the number that it speaks of")


def _damaged(reason: str) -> CorruptStream:
    return CorruptStream(f"The compressed picture is damaged: {reason}. Take it from a sound copy.")
