"""A compressed picture's bytes come back as they were written, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.stream import (
    TILE,
    CorruptStream,
    OtherModel,
    Stream,
    packed,
    tile_boxes,
    unpacked,
)
from kenspeckle.errors import DataError

SIDES = st.one_of(st.integers(1, 200), st.integers(1, 3 * TILE))


def stream(
    height: int = 40, width: int = 60, quality: int = 50, tiles: tuple[bytes, ...] = (b"payload",)
) -> Stream:
    return Stream(
        model=b"8 bytes.",
        height=height,
        width=width,
        quality=quality,
        is_grey=False,
        tiles=tiles,
    )


def four_tiles() -> Stream:
    return stream(TILE + 1, 2 * TILE, tiles=(b"one" * 50, b"", b"three", b"\0\0"))


@st.composite
def streams(draw):
    height, width = draw(SIDES), draw(SIDES)
    count = len(tile_boxes(height, width))
    return Stream(
        model=draw(st.binary(min_size=8, max_size=8)),
        height=height,
        width=width,
        quality=draw(st.integers(1, 100)),
        is_grey=draw(st.booleans()),
        tiles=tuple(draw(st.lists(st.binary(max_size=300), min_size=count, max_size=count))),
    )


@settings(max_examples=50, deadline=None)
@given(streams())
def test_what_was_packed_comes_back(one):
    content = packed(one)
    assert unpacked(content) == one
    assert unpacked(content, one.model) == one


@pytest.mark.parametrize(("side", "bytes_"), [(1, 18), (127, 18), (128, 20), (TILE, 20)])
def test_the_header_of_one_tile_is_short(side, bytes_):
    assert len(packed(stream(side, side, tiles=(b"",)))) == bytes_


@pytest.mark.parametrize("one", [stream(), stream(tiles=(b"",)), four_tiles()])
def test_every_change_of_one_byte_is_found(one):
    content = packed(one)
    for place in range(len(content)):
        for change in range(1, 256):
            damaged = bytearray(content)
            damaged[place] ^= change
            with pytest.raises(CorruptStream):
                unpacked(bytes(damaged), one.model)


@pytest.mark.parametrize("one", [stream(), stream(tiles=(b"",)), four_tiles()])
def test_every_cut_is_found(one):
    content = packed(one)
    for length in range(len(content)):
        with pytest.raises(CorruptStream):
            unpacked(content[:length])


@pytest.mark.parametrize("one", [stream(), stream(tiles=(b"",)), four_tiles()])
@pytest.mark.parametrize("more", [b"\0", b"\xff", b"\0" * 40])
def test_bytes_too_many_are_found(one, more):
    with pytest.raises(CorruptStream):
        unpacked(packed(one) + more)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_noise_after_the_magic_is_no_stream(noise):
    with pytest.raises(CorruptStream):
        unpacked(b"KC" + noise)


def test_a_tile_that_is_damaged_is_named():
    content = bytearray(packed(four_tiles()))
    content[-1] ^= 1
    with pytest.raises(CorruptStream, match="tile 4 of 4"):
        unpacked(bytes(content))


def test_swapped_tiles_are_found():
    one, other = (packed(stream(TILE + 1, 8, tiles=t)) for t in ((b"ab", b"cd"), (b"cd", b"ab")))
    with pytest.raises(CorruptStream, match="tile 1 of 2"):
        unpacked(one[:-4] + other[-4:])


def test_the_stream_of_another_model_is_refused_by_its_id():
    with pytest.raises(OtherModel, match=f"{b'8 bytes.'.hex()}; the one at hand is {'00' * 8}"):
        unpacked(packed(stream()), bytes(8))


def test_another_file_is_no_stream():
    with pytest.raises(CorruptStream, match="does not begin with KC"):
        unpacked(b"\x89PNG\r\n\x1a\n")


def test_a_newer_format_is_told_from_damage():
    content = bytearray(packed(stream()))
    content[2] = 2
    with pytest.raises(CorruptStream, match="needs a newer version"):
        unpacked(bytes(content))


@pytest.mark.parametrize(("height", "width"), [(65536, 1), (1, 65536), (8193, 8193), (0, 5)])
def test_a_header_cannot_ask_for_more_memory_than_an_image_may(height, width):
    content = packed(stream(height, width, tiles=(b"",)))  # with a checksum that matches
    with pytest.raises(CorruptStream, match="megapixels"):
        unpacked(content)


@pytest.mark.parametrize("quality", [0, 101, 255])
def test_a_quality_lies_within_1_and_100(quality):
    with pytest.raises(CorruptStream, match="quality"):
        unpacked(packed(stream(quality=quality)))


def test_both_errors_are_faults_of_the_material():
    assert issubclass(CorruptStream, DataError)
    assert issubclass(OtherModel, DataError)


@settings(max_examples=50, deadline=None)
@given(SIDES, SIDES)
def test_tiles_cover_an_image_once(height, width):
    boxes = tile_boxes(height, width)
    assert sum((bottom - top) * (right - left) for top, left, bottom, right in boxes) == (
        height * width
    )
    assert boxes[0][:2] == (0, 0)
    assert boxes[-1][2:] == (height, width)
    assert all(0 < b - t <= TILE and 0 < r - le <= TILE for t, le, b, r in boxes)
