"""How images become squares and rectangles, and where things are in them afterwards."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kenspeckle.data.fit import GREY, Fit
from kenspeckle.data.read import decode

FITS = [Fit(24), Fit(24, "stretch"), Fit(24, across=60), Fit(60, "stretch", 24)]


def jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    """Left half white, right half black."""
    image = Image.new("L", (width, height))
    image.paste(255, (0, 0, width // 2, height))
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(content, "JPEG", exif=exif, quality=95)
    return content.getvalue()


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.name)
@pytest.mark.parametrize("size", [(200, 50), (50, 200), (1, 1), (7, 300)])
def test_an_image_fills_the_shape_that_is_asked_for(fit, size):
    assert decode(jpeg(*size), fit).pixels.shape[:2] == fit.shape


def test_a_wide_image_keeps_its_shape_in_a_wide_rectangle():
    pixels = decode(jpeg(200, 50), Fit(32, across=128)).pixels[..., 0]
    assert (pixels[:, :60] > 200).all()
    assert (pixels[:, 68:] < 55).all()


def test_what_is_too_short_is_padded_left_and_right():
    pixels = decode(jpeg(50, 50), Fit(32, across=128)).pixels[..., 0]
    assert (pixels[:, :48] == GREY).all()
    assert (pixels[:, 80:] == GREY).all()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photo_is_fitted_as_it_is_seen(orientation):
    stored, fit = jpeg(200, 50, orientation), Fit(40, across=90)
    upright, content = decode(stored).pixels, io.BytesIO()
    Image.fromarray(upright[..., 0]).save(content, "PNG")
    one, other = (decode(c, fit).pixels.astype(int) for c in (stored, content.getvalue()))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 3


@given(
    st.sampled_from(FITS),
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_a_place_comes_back_to_where_it_was(fit, size, shares):
    box = np.array([shares]) * [*size, *size]
    there = fit.shares(box, size)
    assert (there > -1e-9).all()
    assert (there < 1 + 1e-9).all()
    np.testing.assert_allclose(fit.pixels(there, size), box, atol=1e-6)


def test_a_place_lies_where_its_pixels_do():
    image = Image.new("L", (100, 40))
    image.paste(255, (60, 10, 80, 30))
    content = io.BytesIO()
    image.save(content, "PNG")
    fit = Fit(64, across=96)
    rows, columns = np.nonzero(decode(content.getvalue(), fit).pixels[..., 0] > 200)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    told = fit.shares(np.array([[60.0, 10, 80, 30]]), (100, 40))[0] * [96, 64, 96, 64]
    np.testing.assert_allclose(told, found, atol=1.5)


@pytest.mark.parametrize("shape", [(0, None), (5, 0)])
def test_nothing_has_no_shape(shape):
    with pytest.raises(ValueError, match="pixels"):
        Fit(shape[0], across=shape[1])
