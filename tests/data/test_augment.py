"""Changed images are what the numbers say, whichever way they are computed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.augment import BRIGHTNESS, HIDDEN, NOISE, TRANSFORMS, augment, changed
from kenspeckle.data.mix import cutmix, mixup
from kenspeckle.data.preview import CELL_PX, GAP_PX, TITLE_PX, preview_sheet
from kenspeckle.errors import UsageError

NAMES = list(TRANSFORMS)


def pictures(count: int = 6, channels: int = 3, side: int = 32) -> torch.Tensor:
    """Smooth pictures, so that resampling is not all rounding."""
    coarse = torch.rand(count, channels, 5, 5)
    fine = torch.nn.functional.interpolate(coarse, side, mode="bicubic")
    return (255 * fine).clamp(0, 255).to(torch.uint8)


def same(count: int, **numbers: list[float]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row] * count) for name, row in numbers.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.bfloat16])
def test_shape_and_kind_are_kept_and_the_images_given_are_not_touched(name, channels, kind):
    images = pictures(channels=channels)
    images = images if kind == torch.uint8 else (images / 255).to(kind)
    before = images.clone()
    result = augment(images, [name])
    assert result.shape == images.shape
    assert result.dtype == kind
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_each_image_has_numbers_of_its_own(name):
    images = pictures(1).repeat(40, 1, 1, 1)
    torch.manual_seed(3)
    one = augment(images, [name])
    torch.manual_seed(3)
    assert torch.equal(augment(images, [name]), one)
    assert len(one.flatten(1).unique(dim=0)) >= 2


@given(st.sets(st.sampled_from(NAMES)), st.randoms())
@settings(max_examples=20, deadline=None)
def test_the_order_of_names_does_not_matter(names, random):
    images, shuffled = pictures(3), list(names)
    random.shuffle(shuffled)
    torch.manual_seed(0)
    one = augment(images, sorted(names))
    torch.manual_seed(0)
    assert torch.equal(augment(images, shuffled), one)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("flip")])
def test_no_strength_changes_nothing(name):
    images = pictures()
    assert torch.equal(augment(images, [name], strength=0), images)


@pytest.mark.parametrize("name", NAMES)
def test_values_stay_in_range(name):
    images = (torch.rand(8, 3, 16, 16) > 0.5).float()
    result = augment(images, [name], strength=3)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(("name", "axis"), [("flip", 3), ("flip_vertical", 2)])
def test_a_flip_is_exact_and_happens_to_half(name, axis):
    images = pictures(400, side=6)
    result = augment(images, [name])
    is_flipped = (result == images.flip(axis)).flatten(1).all(1)
    assert ((result == images).flatten(1).all(1) ^ is_flipped).all()
    assert 150 < is_flipped.sum() < 250


def test_both_flips_are_a_half_turn():
    images = pictures()
    turned = changed(images, same(6, flip=[1.0], flip_vertical=[1.0]))
    assert torch.equal(turned, images.flip(2, 3))
    assert torch.equal(turned, changed(images, same(6, rotate=[1.0]), strength=12))


def test_a_flip_beside_a_move_is_the_same_flip():
    images = pictures()
    moved = changed(images, same(6, flip=[1.0], flip_vertical=[1.0], crop=[0.0, 0.0, 0.0]))
    assert torch.equal(moved, images.flip(2, 3))


def test_a_shift_of_whole_pixels_is_exact_and_filled_with_grey():
    images = pictures()
    moved = changed(images, same(6, crop=[0.0, 1.0, 0.0]))  # an eighth of 32 pixels
    assert torch.equal(moved[..., :-4], images[..., 4:])
    assert (moved[..., -4:] == 128).all()


@pytest.mark.parametrize("side", [20, 28, 32])
def test_two_products_and_one_resampling_are_the_same(side):
    images = pictures(channels=1, side=side) / 255
    numbers = {"crop": torch.rand(6, 3) * 2 - 1, "flip": torch.rand(6, 1) * 2 - 1}
    as_products = changed(images, numbers)
    as_grid = changed(images, {**numbers, "rotate": torch.zeros(6, 1)})
    torch.testing.assert_close(as_products, as_grid, atol=1e-4, rtol=0)


def test_a_quarter_turn_is_a_quarter_turn():
    images = pictures()
    turned = changed(images, same(6, rotate=[1.0]), strength=6)
    assert torch.equal(turned, images.rot90(1, (2, 3)))


def test_a_turn_keeps_shapes_in_an_image_that_is_not_square():
    square = pictures(channels=1, side=20)
    wide = torch.full((6, 1, 20, 40), 128, dtype=torch.uint8)
    wide[..., 10:30] = square
    turned = changed(wide, same(6, rotate=[1.0]), strength=6)
    assert torch.equal(turned[..., 10:30], square.rot90(1, (2, 3)))


def test_a_shear_leaves_the_middle_row_and_moves_the_edges_apart():
    images = torch.full((1, 1, 21, 21), 0.5)  # as grey as what comes in from outside
    images[..., 10] = 1
    slanted = changed(images, same(1, shear=[1.0]))[0, 0] - 0.5
    columns = (slanted * torch.arange(21)).sum(1) / slanted.sum(1)
    assert columns[10] == pytest.approx(10)
    assert abs(columns[18] - columns[2]) == pytest.approx(0.2 * 16, abs=0.05)


def test_brightness_scales_a_plain_image_and_contrast_does_not():
    plain = torch.full((1, 3, 8, 8), 0.5)
    darker = changed(plain, same(1, colour=[-1.0, 1.0, 1.0]))
    assert torch.allclose(darker, plain * (1 - BRIGHTNESS))


def test_contrast_keeps_the_mean_and_saturation_each_pixels_grey():
    images = 0.4 + 0.2 * torch.rand(4, 3, 8, 8)
    harder = changed(images, same(4, colour=[0.0, 1.0, 0.0]))
    assert torch.allclose(harder.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-5)
    assert (harder.std((1, 2, 3)) > images.std((1, 2, 3))).all()
    grey = changed(images, same(4, colour=[0.0, 0.0, -1.0]), strength=2)
    assert torch.allclose(grey, images.mean(1, keepdim=True).expand(-1, 3, -1, -1), atol=1e-5)


def test_a_point_blurs_into_a_gaussian():
    images = torch.zeros(1, 1, 41, 41)
    images[..., 20, 20] = 1
    deviation = 0.015 * 41 * 3
    spread = changed(images, same(1, blur=[1.0]), strength=3)[0, 0]
    place = torch.arange(41) - 20.0
    expected = torch.exp(-(place**2) / (2 * deviation**2))
    expected /= expected.sum()
    assert torch.allclose(spread, torch.outer(expected, expected), atol=1e-6)


def test_erase_hides_one_rectangle_of_at_most_its_share():
    images = torch.ones(200, 1, 40, 40)
    numbers = torch.rand(200, 4) * 2 - 1
    hidden = changed(images, {"erase": numbers}) == 0.5
    share = hidden.float().mean((1, 2, 3))
    assert share.max() <= HIDDEN * 1.1  # rounding to whole pixels
    assert (share[numbers[:, 0] <= 0] == 0).all()
    for one in hidden[share > 0]:
        down, across = one[0].any(1), one[0].any(0)
        assert torch.equal(one[0], down[:, None] & across)


def test_noise_has_the_deviation_it_says():
    images = torch.full((50, 3, 32, 32), 128, dtype=torch.uint8)
    grain = changed(images, same(50, noise=[1.0])).float() - 128
    assert grain.mean() == pytest.approx(0, abs=0.2)
    assert grain.std() == pytest.approx(NOISE * 255, rel=0.02)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="'rotat', did you mean 'rotate'"):
        augment(pictures(), ["rotat"])


def test_a_negative_strength_is_refused():
    with pytest.raises(UsageError, match="cannot be negative; found -1"):
        augment(pictures(), ["crop"], strength=-1)


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_targets_are_mixed_by_what_is_seen(mix, kind):
    """Image k is all k and its target is k: the mean of a mixed image is its target's mean."""
    values = torch.arange(16) * 10
    images = values.to(kind)[:, None, None, None].expand(-1, 3, 12, 9)
    mixed, targets = mix(images, torch.eye(16), 1.0)
    assert mixed.dtype == kind
    assert mixed.shape == images.shape
    said = targets @ values.float()
    tolerance = 0.5 if kind == torch.uint8 else 1e-4
    assert torch.allclose(mixed.float().mean((1, 2, 3)), said, atol=tolerance + 1e-4)
    assert torch.allclose(targets.sum(1), torch.ones(16))
    assert (targets.max(1).values < 1).any()


def test_mixup_fades_and_cutmix_cuts():
    images = torch.stack([torch.zeros(1, 10, 10), torch.ones(1, 10, 10)]).repeat(20, 1, 1, 1)
    targets = torch.eye(40)
    faded, cut = mixup(images, targets, 1.0)[0], cutmix(images, targets, 1.0)[0]
    assert ((faded > 0) & (faded < 1)).any()
    assert set(cut.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_come_from_a_beta_distribution(alpha):
    images, targets = torch.zeros(4000, 1, 1, 1), torch.eye(2).repeat(2000, 1)
    own = (mixup(images, targets, alpha)[1] * targets).sum(1)
    # Half of the partners have the same label, which leaves the target whole.
    share = own[own < 1]
    assert share.mean() == pytest.approx(0.5, abs=0.05)
    assert share.std() == pytest.approx(math.sqrt(1 / (4 * (2 * alpha + 1))), abs=0.03)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_an_alpha_of_nothing_is_refused(mix):
    with pytest.raises(UsageError, match="must be above 0; found 0"):
        mix(torch.zeros(2, 1, 4, 4), torch.eye(2), 0.0)


def test_the_sheet_shows_the_original_then_each_transform():
    images = pictures(3, channels=1, side=CELL_PX // 4)
    sheet = preview_sheet(images, ["flip", "rotate"])
    step = CELL_PX + GAP_PX
    assert sheet.shape == (TITLE_PX + 3 * step, 4 * step - GAP_PX, 3)
    shown = sheet[TITLE_PX : TITLE_PX + CELL_PX : 4, :CELL_PX:4]
    assert np.array_equal(shown, images[0, 0].numpy()[..., None].repeat(3, 2))
    for column in range(4):  # every column has a title
        assert sheet[:TITLE_PX, column * step : column * step + CELL_PX].min() < 100


def test_one_transform_needs_no_column_for_all():
    sheet = preview_sheet(pictures(2), ["flip"])
    assert sheet.shape[1] == 2 * CELL_PX + GAP_PX
