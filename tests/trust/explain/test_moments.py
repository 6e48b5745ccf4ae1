"""Which frames speak for a class, against answers worked out by hand, and how that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.models.sequence import lstm, mean
from kenspeckle.trust.explain.moments import ACROSS, AGAINST, FOR, moments, strip

FEATURES = 6


def answering(encoder, classes: int = 3):
    """Probabilities of an untrained network over clips."""
    network, head = encoder(FEATURES).eval(), torch.nn.Linear(192, classes)
    return lambda clips: head(network(clips).flatten(1)).softmax(1)


@pytest.mark.parametrize("encoder", [lstm, mean])
@settings(max_examples=10, deadline=None)
@given(count=st.integers(2, 7), target=st.integers(0, 2))
def test_a_frame_is_replaced_by_the_mean_of_the_others(encoder, count, target):
    answer, steps = answering(encoder), torch.randn(count, FEATURES)
    found = moments(answer, steps, target)
    with torch.no_grad():
        for t in range(count):
            others = torch.cat([steps[:t], steps[t + 1 :]])
            changed = torch.cat([steps[:t], others.mean(0, keepdim=True), steps[t + 1 :]])
            expected = answer(steps[None])[0, target] - answer(changed[None])[0, target]
            assert found[t] == pytest.approx(float(expected), abs=1e-5)


def test_the_one_frame_that_matters_is_found():
    def answer(clips):
        seen = clips[..., 0].amax(1)
        return torch.stack([1 - seen, seen], 1)

    steps = torch.zeros(8, FEATURES)
    steps[5] = 0.7
    assert moments(answer, steps, 1).tolist() == pytest.approx([0] * 5 + [0.7] + [0] * 2)
    assert moments(answer, steps, 0)[5] == pytest.approx(-0.7)


def test_the_classes_of_a_frame_sum_to_nothing():
    answer, steps = answering(lstm), torch.randn(5, FEATURES)
    total = sum(moments(answer, steps, target) for target in range(3))
    assert total.abs().max() < 1e-5


def test_frames_that_are_all_alike_do_not_matter():
    steps = torch.randn(FEATURES).expand(4, FEATURES)
    assert moments(answering(lstm), steps, 0).abs().max() < 1e-6


def test_a_clip_of_one_frame():
    assert moments(answering(lstm), torch.randn(1, FEATURES), 0).tolist() == [0]


def test_what_was_given_is_as_it_was():
    steps = torch.randn(4, FEATURES)
    before = steps.clone()
    moments(answering(mean), steps, 0)
    assert torch.equal(steps, before)


def frames(count: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    return [np.full((height, width, 3), 10 * t % 250, dtype=np.uint8) for t in range(count)]


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(-1)


def lightness(colour: tuple[int, int, int]) -> float:
    """L* of an sRGB colour (CIE 1976)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
              for v in (c / 255 for c in colour)]  # fmt: skip
    return 116 * float(np.dot(linear, [0.2126, 0.7152, 0.0722])) ** (1 / 3) - 16


def test_frames_stand_side_by_side_in_their_order():
    picture = strip(frames(3), [0.1, 0.2, 0.3])
    assert picture.dtype == np.uint8
    step = picture.shape[1] // 3
    assert [int(picture[5, 5 + t * step, 0]) for t in range(3)] == [0, 10, 20]


def test_more_than_twelve_frames_are_wrapped():
    one, two = strip(frames(ACROSS), [1.0] * ACROSS), strip(frames(13), [1.0] * 13)
    assert two.shape == (2 * one.shape[0], one.shape[1], 3)
    assert (two[one.shape[0] + 5, 5] == 120).all()
    assert (two[one.shape[0] :, one.shape[1] // 2 :] == 255).all()


def test_bars_are_as_long_as_weights_are_large_and_say_the_sign_by_side_and_colour():
    picture = strip(frames(3), [0.4, -0.2, 0.0])
    step = picture.shape[1] // 3
    first, second, third = (picture[:, t * step : (t + 1) * step] for t in range(3))
    assert coloured(first, FOR).any(0).sum() == 15  # half of 32, less the line in the middle
    assert coloured(second, AGAINST).any(0).sum() == 8
    assert not coloured(first, FOR)[:, :16].any()
    assert not coloured(second, AGAINST)[:, 16:].any()
    assert not (coloured(third, FOR) | coloured(third, AGAINST)).any()
    assert not coloured(picture[:32], FOR).any()


def test_the_two_colours_differ_in_light():
    assert lightness(AGAINST) - lightness(FOR) > 30


def test_no_weights_are_no_bars():
    assert not coloured(strip(frames(2), [0.0, 0.0]), FOR).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25), st.integers(1, 9), st.integers(1, 9))
def test_any_number_of_frames_of_any_size(count, height, width):
    picture = strip(frames(count, height, width), [(-1.0) ** t for t in range(count)])
    assert picture.shape[1] > width * min(count, ACROSS)
    assert picture.shape[0] > height * -(-count // ACROSS)
