"""Images are made as bad as was said, and what is told about them is true."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kenspeckle.data.degrade import (
    ALSO,
    DEGRADATIONS,
    GREY,
    LOSSLESS,
    Degraded,
    degraded,
    degraded_by,
    jpeg_quality,
    worsened,
)
from kenspeckle.errors import UsageError

NAMES = list(DEGRADATIONS)


def pictures(count: int = 4, height: int = 32, width: int = 40) -> torch.Tensor:
    """(count, 3, height, width) smooth pictures, uint8."""
    coarse = torch.rand(count, 3, 5, 5)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (255 * fine).clamp(0, 255).to(torch.uint8)


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def equal(one: Degraded, other: Degraded) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (33, 20)])
def test_every_way_keeps_every_size_and_touches_no_image_given(name, shape):
    images = pictures(3, *shape)
    before = images.clone()
    for amount in (*DEGRADATIONS[name].levels, DEGRADATIONS[name].most):
        seen = degraded_by(images, {name: amount}, dice())
        assert seen.images.shape == images.shape
        assert seen.images.dtype == torch.float32
        assert seen.images.isfinite().all()
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_an_amount_of_nothing_changes_nothing_and_tells_of_nothing(name):
    images = torch.rand(3, 3, 16, 16)
    seen = degraded_by(images, {name: 0.0}, dice())
    assert torch.equal(seen.images, images)
    assert (seen.sigma == 0).all()
    assert (seen.quality == LOSSLESS).all()
    assert not seen.mask.any()


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(0, 2**31), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_generator_decides_and_the_order_of_names_does_not_matter(names, seed, random):
    images, shuffled = pictures(3, 12, 10), list(names)
    random.shuffle(shuffled)
    assert equal(
        degraded(images, sorted(names), dice(seed)), degraded(images, shuffled, dice(seed))
    )


def test_without_a_generator_torchs_own_is_used():
    images = pictures()
    torch.manual_seed(3)
    one = degraded(images, NAMES)
    torch.manual_seed(3)
    assert equal(degraded(images, NAMES), one)
    assert not equal(degraded(images, NAMES), one)


def test_bytes_and_fractions_are_the_same_images():
    images = pictures()
    assert equal(degraded(images, NAMES, dice()), degraded(images / 255, NAMES, dice()))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_whose_amount_is_nothing_stays_among_others(name):
    images = torch.rand(3, 3, 24, 24)
    most = DEGRADATIONS[name].drawn[1]
    seen = degraded_by(images, {name: torch.tensor([most, 0.0, most])}, dice())
    assert [torch.equal(a, b) for a, b in zip(seen.images, images, strict=True)] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_level_is_worse_than_the_one_before(name):
    images = (pictures(8, 48, 48) / 255 + 0.3 * torch.rand(8, 3, 48, 48)).clamp(0, 1)
    errors = [
        (degraded_by(images, {name: level}, dice()).images - images).square().mean()
        for level in DEGRADATIONS[name].levels
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_every_image_gets_one_way_and_a_quarter_each_other():
    images = torch.full((4000, 3, 1, 1), 0.3)
    seen = degraded(images, ["noise", "holes"], dice())
    has_noise, has_hole = seen.sigma > 0, seen.mask.flatten(1).any(1)
    assert (has_noise | has_hole).all()
    assert (has_noise & has_hole).float().mean() == pytest.approx(ALSO, abs=0.03)
    assert has_noise.float().mean() == pytest.approx(0.5 + ALSO / 2, abs=0.03)


def test_drawn_amounts_fill_their_range():
    seen = degraded(torch.zeros(2000, 3, 2, 2), ["noise"], dice())
    least, most = DEGRADATIONS["noise"].drawn
    assert seen.sigma.mean() == pytest.approx((least + most) / 2, rel=0.05)
    assert seen.sigma.max() == pytest.approx(most, rel=0.02)


def test_noise_is_gaussian_of_the_deviation_told_and_is_not_cut_off():
    images = torch.rand(1, 3, 200, 200)
    seen = degraded_by(images, {"noise": 50.0}, dice())
    grain = (seen.images - images) * 255
    assert seen.sigma.item() == 50
    assert grain.std() == pytest.approx(50, rel=0.01)
    assert (grain**4).mean() / grain.var() ** 2 == pytest.approx(3, abs=0.1)
    assert seen.images.min() < 0
    assert seen.images.max() > 1


@pytest.mark.parametrize("value", [0.1, 0.5, 1.0])
def test_shot_noise_grows_with_the_root_of_the_light_and_is_told_truly(value):
    images = torch.full((1, 3, 200, 200), value)
    seen = degraded_by(images, {"shot_noise": 30.0}, dice())
    grain = (seen.images[:, 0] - images[:, 0]) * 255
    assert grain.mean() == pytest.approx(0, abs=0.5)
    assert grain.std() == pytest.approx(30 * math.sqrt(value), rel=0.02)
    assert seen.sigma.item() == pytest.approx(30 * math.sqrt(value), rel=1e-5)


def test_two_noises_add_up_by_their_squares():
    seen = degraded_by(torch.ones(1, 3, 4, 4), {"noise": 30.0, "shot_noise": 40.0}, dice())
    assert seen.sigma.item() == pytest.approx(50)


@pytest.mark.parametrize("name", NAMES)
def test_grey_stays_grey(name):
    images = pictures()[:, :1].expand(-1, 3, -1, -1)
    result = degraded_by(images, {name: DEGRADATIONS[name].levels[3]}, dice()).images
    assert torch.allclose(result, result[:, :1].expand(-1, 3, -1, -1), atol=1e-6)


def spread_of(point: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Sum of the weights, and their covariance in pixels."""
    side = point.shape[-1]
    place = torch.stack(torch.meshgrid(*[torch.arange(side) - side // 2] * 2, indexing="ij"))
    place = place.flatten(1).double()
    weights = point.flatten().double()
    return weights.sum().item(), (place * weights) @ place.T


def test_half_are_out_of_focus_and_half_moved_both_as_far_as_was_said():
    images = torch.zeros(40, 3, 41, 41)
    images[..., 20, 20] = 1
    blurred = degraded_by(images, {"blur": 3.0}, dice()).images[:, 0]
    moved = 0
    for point in blurred:
        total, covariance = spread_of(point)
        small, large = torch.linalg.eigvalsh(covariance).tolist()
        assert total == pytest.approx(1, abs=1e-5)
        if small > 1:  # round
            assert (small**0.5, large**0.5) == pytest.approx((3, 3), abs=0.05)
        else:  # a line; sharing a point among four pixels widens it a little
            assert large == pytest.approx(9, abs=0.7)
            moved += 1
    assert 10 < moved < 30


def test_blur_leaves_a_plain_image_plain():
    images = torch.full((8, 3, 9, 6), 0.7)
    assert torch.allclose(degraded_by(images, {"blur": 3.0}, dice()).images, images, atol=1e-5)


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_jpeg_is_what_pillow_writes_and_reads(quality):
    images = pictures(2)
    seen = degraded_by(images, {"jpeg": 100.0 - quality})
    assert (seen.quality == quality).all()
    for image, result in zip(images, seen.images, strict=True):
        file = io.BytesIO()
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        again = np.array(Image.open(file)).transpose(2, 0, 1)
        assert np.array_equal((255 * result).round().numpy(), again)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_low_resolution_is_what_pillow_resizes(factor):
    images = pictures(2, 36, 48)
    ours = degraded_by(images, {"low_resolution": float(factor)}).images
    for image, result in zip(images, ours, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        small = picture.resize((48 // factor, 36 // factor), Image.Resampling.BICUBIC)
        again = np.array(small.resize((48, 36), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        difference = np.abs(255 * result.numpy() - again)
        assert difference.max() < 4  # Pillow rounds four times on the way
        assert difference.mean() < 0.5


def test_up_to_once_smaller_is_no_change():
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(degraded_by(images, {"low_resolution": 1.0}).images, images)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.75])
def test_holes_are_grey_and_told_and_about_as_large_as_was_said(share):
    images = torch.rand(40, 3, 64, 48) * 0.4
    seen = degraded_by(images, {"holes": share}, dice())
    hidden = seen.mask.expand_as(images)
    assert (seen.images[hidden] == GREY).all()
    assert torch.equal(seen.images[~hidden], images[~hidden])
    area = seen.mask.float().mean((1, 2, 3))
    assert (area >= share).all()
    assert area.mean() < 1.8 * share


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_robustness_test_keeps_kind_channels_and_range(name, channels):
    images = pictures()[:, :channels]
    for strength in range(6):
        result = worsened(images, name, strength, dice())
        assert result.shape == images.shape
        assert result.dtype == torch.uint8
        assert torch.equal(result, images) == (strength == 0)
    noisy = worsened(images / 255, name, 5, dice())
    assert noisy.dtype == torch.float32
    assert 0 <= noisy.min() <= noisy.max() <= 1


@pytest.mark.parametrize("quality", range(1, 101, 9))
def test_the_quality_of_a_file_is_read_from_it(quality):
    file = io.BytesIO()
    Image.new("L", (9, 9), 77).save(file, "JPEG", quality=quality)
    assert jpeg_quality(file.getvalue()) == quality


def test_foreign_tables_get_the_nearest_quality():
    like_50 = Image.new("RGB", (8, 8))
    file, again = io.BytesIO(), io.BytesIO()
    like_50.save(file, "JPEG", quality=50)
    table = [step + 1 for step in Image.open(file).quantization[0]]
    like_50.save(again, "JPEG", qtables=[table, table])
    assert abs(jpeg_quality(again.getvalue()) - 50) <= 3


def test_what_is_no_sound_jpeg_has_no_quality():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    assert jpeg_quality(file.getvalue()) is None
    assert jpeg_quality(b"") is None
    assert jpeg_quality(b"\xff\xd8\xff\xe0 and then nothing") is None


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="'nose', did you mean 'noise'"):
        degraded(pictures(), ["nose"])


def test_no_name_at_all_is_refused():
    with pytest.raises(UsageError, match="at least one way"):
        degraded(pictures(), [])


@pytest.mark.parametrize("amount", [-1.0, 300.0, math.nan])
def test_an_amount_that_makes_no_sense_is_refused(amount):
    with pytest.raises(UsageError, match=r"lies in 0..255; found"):
        degraded_by(pictures(), {"noise": amount})


@pytest.mark.parametrize("strength", [-1, 6])
def test_a_strength_that_is_not_one_is_refused(strength):
    with pytest.raises(UsageError, match=f"one of 0..5; found {strength}"):
        worsened(pictures(), "blur", strength)
