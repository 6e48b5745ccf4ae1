"""Real and generated images are changed by the same rules, and gradients pass through them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.diff_augment import CHANGES, changed, diff_augment
from kenspeckle.errors import UsageError

NAMES = list(CHANGES)
MIDDLE = {"colour": 0.5, "shift": 0.5}  # the numbers that leave an image as it was
unit = st.floats(0, 1, exclude_max=True)


def images(count: int = 4, channels: int = 3, side: int = 32) -> torch.Tensor:
    return torch.rand(count, channels, side, side, dtype=torch.float64) * 2 - 1


def numbers(name: str, value: float, count: int = 4) -> dict[str, torch.Tensor]:
    return {name: torch.full((count, CHANGES[name].count), value)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_shape_and_kind_are_kept_and_the_images_given_are_not_touched(channels, side, kind):
    given_ = images(channels=channels, side=side).to(kind)
    before = given_.clone()
    result = diff_augment(given_)
    assert result.shape == given_.shape
    assert result.dtype == kind
    assert torch.equal(given_, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_each_image_has_numbers_of_its_own(name):
    one = images(1).repeat(20, 1, 1, 1)
    torch.manual_seed(3)
    first = diff_augment(one, [name])
    torch.manual_seed(3)
    assert torch.equal(diff_augment(one, [name]), first)
    assert len(first.flatten(1).unique(dim=0)) > 2


@pytest.mark.parametrize("name", list(MIDDLE))
def test_middle_numbers_change_nothing(name):
    given_ = images()
    assert torch.allclose(changed(given_, numbers(name, MIDDLE[name])), given_, atol=1e-12)


def test_no_name_changes_nothing():
    given_ = images()
    assert torch.equal(diff_augment(given_, []), given_)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'colour'"):
        diff_augment(images(), ["color"])


@pytest.mark.parametrize("name", NAMES)
@given(value=unit)
@settings(max_examples=2, deadline=None)
def test_the_gradient_is_that_of_a_small_difference(name, value):
    torch.manual_seed(0)
    given_ = images(1, side=6).requires_grad_()
    fixed = numbers(name, value, 1)
    assert torch.autograd.gradcheck(lambda x: changed(x, fixed), given_)


@given(down=unit, across=unit)
@settings(max_examples=30, deadline=None)
def test_a_shift_is_a_roll_with_middle_grey_coming_in(down, across):
    torch.manual_seed(0)
    given_ = images(1)
    result = changed(given_, {"shift": torch.tensor([[down, across]], dtype=torch.float64)})
    by = [int((value * 9) // 1) - 4 for value in (down, across)]
    padded = torch.nn.functional.pad(given_, [4, 4, 4, 4])
    top, left = 4 - by[0], 4 + by[1] * -1
    assert torch.equal(result, padded[:, :, top : top + 32, left : left + 32])


def test_shifts_reach_an_eighth_of_the_side_each_way_alike():
    torch.manual_seed(0)
    dot = torch.zeros(9000, 1, 28, 28)
    dot[:, :, 14, 14] = 1
    places = diff_augment(dot, ["shift"]).sum((0, 1))
    rows, columns = places.sum(1), places.sum(0)
    for counts in (rows, columns):
        assert counts.nonzero().flatten().tolist() == list(range(10, 19))
        assert counts[10:19].min() > 850
        assert counts[10:19].max() < 1150


@pytest.mark.parametrize("side", [28, 31])
def test_the_hidden_square_is_half_the_side_and_centred_anywhere(side):
    shown = diff_augment(torch.ones(4000, 1, side, side), ["hide"])[:, 0]
    hidden = shown == 0
    tall, wide = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), tall * wide)  # a rectangle
    length = int(side / 2 + 0.5)
    assert tall.max() == wide.max() == length
    assert tall.min() == wide.min() == length // 2  # the centre is at the border
    often = hidden.float().mean(0)
    assert (often - often.flip(0, 1)).abs().max() < 0.06  # no corner is favoured


def test_brightness_adds_contrast_stretches_and_saturation_leaves_grey_alone():
    ramp = torch.tensor([[[[-0.5, 0.5]]]])
    colour = torch.tensor([[0.75, 0.1, 0.0]])  # +.25, and half the contrast
    assert torch.allclose(changed(ramp, {"colour": colour}), torch.tensor([[[[0.0, 0.5]]]]))


def test_no_saturation_makes_channels_equal():
    colour = torch.tensor([[0.5, 0.0, 0.5]]).repeat(4, 1)
    given_ = images()
    result = changed(given_, {"colour": colour})
    assert torch.allclose(result, given_.mean(1, keepdim=True).expand_as(given_))


def test_changes_of_real_and_generated_images_have_one_law():
    torch.manual_seed(0)
    one = images(1).float().repeat(1000, 1, 1, 1)
    first, second = diff_augment(one), diff_augment(one)
    assert (first.mean(0) - second.mean(0)).abs().max() < 0.15
    assert (first.std(0) - second.std(0)).abs().max() < 0.15


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_says_how_many_images_are_changed(share):
    given_ = images(3000, channels=1, side=8)
    is_changed = (diff_augment(given_, ["colour"], share) != given_).flatten(1).any(1)
    assert float(is_changed.double().mean()) == pytest.approx(share, abs=0.03)


def test_an_image_is_changed_whole_or_kept_whole():
    given_ = images(200)
    result = diff_augment(given_, ["colour"], 0.5)
    pixels = (result != given_).flatten(1).double().mean(1)
    assert ((pixels == 0) | (pixels > 0.9)).all()
