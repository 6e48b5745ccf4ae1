"""Reading: every format, orientation, depth and transparency ends as the same upright pixels."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from kenspeckle.data.modes import INKS, SCALED, TRANSPARENT
from kenspeckle.data.read import FRAMES, UPRIGHT, Fit, decode, read_image
from kenspeckle.data.source import ArrayRow, File
from kenspeckle.errors import UnreadableImage

BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that undoes each orientation


def drawing(width: int = 48, height: int = 32) -> Image.Image:
    """A picture with no symmetry: a gradient with a red box top left."""
    across = np.linspace(0, 255, width)[None, :, None] * np.array([0.0, 1.0, 0.5])
    image = Image.fromarray(np.broadcast_to(across, (height, width, 3)).astype(np.uint8))
    ImageDraw.Draw(image).rectangle((0, 0, width // 3, height // 4), fill=(255, 0, 0))
    return image


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tagged(image: Image.Image, orientation: int, kind: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image.transpose(Image.Transpose(BACK[orientation])) if orientation > 1 else image
    return saved(stored, kind, exif=exif, **options)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is that large and holds nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def reason(content: bytes, fit: Fit | None = None) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(content, fit)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_own_pixels(kind):
    picture = decode(saved(drawing(), kind))
    assert (picture.pixels == np.asarray(drawing())).all()
    assert (picture.width, picture.height, picture.format) == (48, 32, kind)
    assert picture.notes == ()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("AVIF", {"quality": 95}), ("GIF", {})],
)
def test_a_lossy_file_gives_nearly_its_pixels(kind, options):
    picture = decode(saved(drawing(), kind, **options))
    difference = np.abs(picture.pixels.astype(int) - np.asarray(drawing()))
    assert picture.format == kind
    assert difference.mean() < 6


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_a_compressed_tiff_is_read(compression):
    picture = decode(saved(drawing(), "TIFF", compression=compression))
    assert (picture.pixels == np.asarray(drawing())).all()


def test_the_format_is_told_by_content_not_by_name(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(drawing(), "PNG"))
    assert read_image(File(path)).format == "PNG"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_every_orientation_is_turned_upright(kind, options, orientation):
    picture = decode(tagged(drawing(), orientation, kind, **options))
    assert (picture.pixels == np.asarray(drawing())).all()
    assert (picture.width, picture.height) == (48, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_shrunk_while_decoding_is_upright_too(orientation):
    large = drawing(960, 640)
    picture = decode(tagged(large, orientation, "JPEG", quality=95), Fit(60))
    plain = decode(saved(large, "PNG"), Fit(60))
    assert (picture.width, picture.height) == (960, 640)
    assert np.abs(picture.pixels.astype(int) - plain.pixels).mean() < 3
    assert (UPRIGHT in picture.notes) == (orientation > 1)


def test_damaged_exif_does_not_cost_the_image():
    content = saved(drawing(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert decode(content).pixels.shape == (32, 48, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_rounded_never_clipped(kind):
    levels = np.array([[0, 128, 129, 257], [40000, 65534, 65535, 32896]], dtype=np.uint16)
    picture = decode(saved(Image.fromarray(levels), kind))
    assert picture.pixels[..., 0].tolist() == np.rint(levels / 257).astype(int).tolist()
    assert picture.notes == (SCALED,)


def test_floating_point_in_0_to_1_is_scaled():
    levels = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert decode(saved(Image.fromarray(levels), "TIFF")).pixels.ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    "levels",
    [
        np.array([[-3.0, 7.5]], np.float32),
        np.array([[np.nan, 0.5]], np.float32),
        np.array([[0, 70000]], np.int32),
        np.array([[0, 255]], np.int32),
    ],
)
def test_numbers_without_black_and_white_are_refused_with_their_range(levels):
    with pytest.raises(UnreadableImage, match=str(levels.max())) as caught:
        decode(saved(Image.fromarray(levels), "TIFF"))
    assert caught.value.reason == "unsupported"


def test_one_bit_images_are_black_and_white_grey():
    picture = decode(saved(drawing().convert("1")))
    assert picture.pixels.shape[2] == 1
    assert set(np.unique(picture.pixels)) == {0, 255}


def test_cmyk_becomes_colour():
    picture = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(picture.pixels.astype(int) - [255, 0, 0]).max() < 8
    assert picture.notes == (INKS,)


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1)])
def test_transparency_is_drawn_over_white(mode, channels):
    image = Image.new(mode, (3, 1))  # black
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (0,) * channels + (alpha,))
    picture = decode(saved(image))
    assert picture.pixels[0].tolist() == [[255] * channels, [127] * channels, [0] * channels]
    assert picture.notes == (TRANSPARENT,)


def test_an_opaque_alpha_channel_is_not_worth_a_note():
    assert decode(saved(drawing().convert("RGBA"))).notes == ()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_white(kind):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    picture = decode(saved(image, kind, transparency=0))
    assert picture.pixels[0].tolist() == [[255, 255, 255], [200, 100, 50]]
    assert picture.notes == (TRANSPARENT,)


def test_half_transparent_palette_colours_are_mixed_with_white():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((1, 0), 1)
    picture = decode(saved(image, transparency=bytes([51, 255])))
    assert picture.pixels[0].tolist() == [[204, 204, 204], [200, 100, 50]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_read(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    picture = decode(content)
    assert picture.pixels[8, 8].tolist() == [255, 0, 0]
    assert picture.notes == (FRAMES,)


def test_padding_keeps_the_shape_and_fills_with_mid_grey():
    pixels = decode(saved(Image.new("RGB", (40, 20), "red")), Fit(20)).pixels
    assert (pixels[:5] == 128).all()
    assert (pixels[15:] == 128).all()
    assert (pixels[5:15] == [255, 0, 0]).all()


def test_stretching_fills_the_square_and_cropping_keeps_the_middle():
    image = Image.new("L", (40, 20), 0)
    image.paste(255, (10, 0, 30, 20))
    content = saved(image)
    assert (decode(content, Fit(20, "crop")).pixels[:, 1:-1] == 255).all()
    assert decode(content, Fit(20, "stretch")).pixels[:, 0, 0].tolist() == [0] * 20


def test_an_image_of_the_wanted_size_is_not_touched():
    image = drawing(32, 32)
    assert (decode(saved(image), Fit(32)).pixels == np.asarray(image)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(["pad", "stretch", "crop"]),
)
def test_a_fitted_picture_is_square_and_invents_no_colour(width, height, size, mode):
    picture = decode(saved(Image.new("L", (width, height), 60)), Fit(size, mode))
    assert picture.pixels.shape == (size, size, 1)
    assert (picture.width, picture.height) == (width, height)
    assert set(np.unique(picture.pixels)) <= ({60, 128} if mode == "pad" else {60})
    assert (picture.pixels == 60).any()


def test_array_rows_are_taken_as_they_are_then_fitted():
    array = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    assert (read_image(ArrayRow(array, 1)).pixels[..., 0] == array[1]).all()
    assert read_image(ArrayRow(array, 1), Fit(8)).pixels.shape == (8, 8, 1)


@pytest.mark.parametrize("size", [(50000, 50000), (70000, 10), (1, 2**31 - 1)])
def test_a_file_that_claims_too_many_pixels_is_refused_unread(size):
    assert reason(png_header(*size)) == "too_many_pixels"


def test_a_huge_baseline_jpeg_is_read_when_it_is_made_smaller():
    content = saved(Image.new("L", (9000, 8000), 90), "JPEG")  # 72 megapixels, grey
    picture = decode(content, Fit(32))
    assert (picture.width, picture.height) == (9000, 8000)
    assert np.abs(picture.pixels[10:20].astype(int) - 90).max() <= 1
    assert reason(content) == "too_many_pixels"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not_an_image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "lfs_pointer"),
        (b"\x89PNG\r\n\x1a\n not really", "corrupt"),
        (b"%PDF-1.4", "not_an_image"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(content, expected):
    assert reason(content) == expected


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_breaks_off_is_truncated(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), kind)
    assert reason(content[: len(content) // 2]) == "truncated"


def test_a_png_whose_pixels_fail_their_checksum_is_corrupt():
    content = saved(drawing())
    at = content.index(b"IEND") - 8  # the checksum of the last pixel chunk
    assert reason(content[: at + 3] + bytes([content[at + 3] ^ 1]) + content[at + 4 :]) == "corrupt"


def test_formats_outside_the_list_are_not_images():
    assert reason(saved(drawing(), "PCX")) == "not_an_image"


def test_heic_without_the_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    content = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(UnreadableImage, match=r"pip install 'kenspeckle\[heif\]'") as caught:
        decode(content)
    assert caught.value.reason == "needs_extra"


def test_a_damaged_heic_is_refused():
    pytest.importorskip("pi_heif")
    content = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)
    assert reason(content) == "corrupt"


def test_pillows_warnings_do_not_surface_from_threads():
    palette = Image.new("P", (4, 4))
    palette.putpalette([1, 2, 3])
    contents = [saved(palette, transparency=b"\x80"), saved(drawing(), "JPEG", exif=b"Exif\0\0II*")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(4) as workers:
            list(workers.map(decode, contents * 8))
    assert caught == []


def test_threads_and_one_thread_agree():
    contents = [saved(drawing(40 + i, 30), kind) for i in range(8) for kind in ("PNG", "TIFF")]
    alone = [decode(content, Fit(24)).pixels for content in contents]
    with ThreadPoolExecutor(4) as workers:
        together = list(workers.map(lambda content: decode(content, Fit(24)).pixels, contents))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


def test_a_missing_file_is_named_missing(tmp_path: Path):
    with pytest.raises(UnreadableImage) as caught:
        read_image(File(tmp_path / "gone.png"))
    assert caught.value.reason == "missing"
