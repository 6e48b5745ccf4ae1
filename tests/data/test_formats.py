"""Ordinary formats: written whole, read back, and found at the quality that is wanted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kenspeckle.data.formats import BEST, NAMES, SUFFIXES, formats, psnr, reaching, written


def picture(channels: int = 3, seed: int = 0) -> np.ndarray:
    """Soft waves with a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :48]
    waves = np.stack([np.sin(x / 6 + c) + np.cos(y / 5) for c in range(channels)], 2)
    return np.clip(127 + 50 * waves + random.normal(0, 3, waves.shape), 0, 255).astype(np.uint8)


def test_pillow_as_it_is_pinned_writes_every_format():
    assert set(formats()) == set(NAMES) == set(SUFFIXES)


@pytest.mark.parametrize("name", formats())
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_is_of_its_format_and_says_how_near_it_is(name, channels):
    pixels = picture(channels)
    file = written(pixels, name, 60)
    with Image.open(io.BytesIO(file.content)) as image:
        assert image.format == NAMES[name].upper()
        back = np.array(image.convert("RGB"), float)
    error = np.square(back - pixels).mean()
    assert file.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=0.01)


@pytest.mark.parametrize("name", formats())
def test_the_lowest_quality_that_is_near_enough_is_found(name):
    found = reaching(picture(), name, 30.0)
    near = [q for q in range(1, BEST + 1) if written(picture(), name, q).psnr >= 30]
    assert found.psnr >= 30
    assert found.quality - near[0] <= 3  # decibels do not rise with every step of quality


def test_what_no_quality_reaches_is_written_at_the_highest():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert reaching(noise, "jpeg", 60.0).quality == BEST


def test_a_picture_that_is_near_enough_at_the_lowest_quality_costs_no_more():
    assert reaching(np.zeros((16, 16, 3), np.uint8), "jpeg", 20.0).quality == 1


def test_decibels_fall_by_six_where_errors_double():
    grey = np.full((8, 8, 1), 100, np.uint8)
    assert psnr(grey, grey + 4) - psnr(grey, grey + 8) == pytest.approx(20 * np.log10(2))
