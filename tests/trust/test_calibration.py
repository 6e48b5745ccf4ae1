"""A temperature mends what is stated too boldly, and only that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from kenspeckle.errors import EmptyDataset
from kenspeckle.tasks.temperature import fit_temperature, surprise
from kenspeckle.trust.calibration import calibration_error, calibration_score, reliability


def world(n: int, boldness: float, seed: int = 0, classes: int = 4):
    """Logits that state `boldness` times what is true, and labels drawn from what is true."""
    random = np.random.default_rng(seed)
    true = random.normal(0, 2, (n, classes))
    chances = softmax(true, axis=1).cumsum(1)
    labels = (random.random((n, 1)) > chances).sum(1).clip(0, classes - 1)
    return boldness * true, labels


def test_surprise_is_minus_the_log_of_the_softmax():
    logits, labels = world(50, 1.0)
    for t in (0.5, 1.0, 3.0):
        expected = -np.log(softmax(logits / t, axis=1)[np.arange(50), labels])
        assert surprise(logits, labels, t) == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 3))
def test_stating_s_times_too_much_takes_a_temperature_of_s(s):
    logits, labels = world(3000, 1.0)
    base = fit_temperature(logits, labels).fitted
    assert base == pytest.approx(1, abs=0.1)
    assert fit_temperature(s * logits, labels).fitted == pytest.approx(s * base, rel=1e-3)


def test_the_fitted_temperature_is_a_minimum_of_the_loss():
    logits, labels = world(500, 2.0)
    fitted = fit_temperature(logits, labels).fitted
    here = surprise(logits, labels, fitted).mean()
    assert all(surprise(logits, labels, fitted * f).mean() >= here for f in (0.8, 0.9, 1.1, 1.25))


def test_what_is_well_calibrated_is_left_alone():
    logits, labels = world(300, 1.0, seed=1)
    found = fit_temperature(logits, labels)
    assert found.value == 1.0
    assert found.gain <= found.standard_error


def test_what_is_too_bold_is_mended():
    logits, labels = world(300, 4.0)
    found = fit_temperature(logits, labels)
    assert found.value == found.fitted == pytest.approx(4, rel=0.25)
    mended = softmax(logits / found.value, axis=1)
    bold = softmax(logits, axis=1)
    assert calibration_error(mended, labels) < 0.5 * calibration_error(bold, labels)


def test_a_temperature_never_changes_an_answer():
    logits, labels = world(200, 3.0)
    t = fit_temperature(logits, labels).value
    assert np.array_equal((logits / t).argmax(1), logits.argmax(1))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_have_no_temperature(n):
    assert fit_temperature(np.zeros((n, 3)), np.zeros(n, np.int64)).value == 1.0


def test_forty_right_answers_do_not_make_certainty():
    labels = np.arange(40) % 2
    logits = np.where(np.arange(2) == labels[:, None], 1.0, 0.0)
    t = fit_temperature(logits, labels).value
    # Laplace's rule of succession after 40 of 40: 41 / 42
    assert softmax(logits / t, axis=1).max() < 0.999


def test_the_error_of_one_bin_is_its_gap():
    probabilities = np.tile([0.9, 0.1], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    assert calibration_error(probabilities, labels) == pytest.approx(0.3)


def test_the_error_by_a_second_way():
    logits, labels = world(400, 2.0)
    probabilities = softmax(logits, axis=1)
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = [
            i
            for i, p in enumerate(probabilities.max(1))
            if low <= p < low + 1 / 15 or (p == 1 and low == 14 / 15)
        ]
        if inside:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
            said = np.mean([probabilities[i].max() for i in inside])
            expected += len(inside) / 400 * abs(right - said)
    assert calibration_error(probabilities, labels) == pytest.approx(expected)


def test_the_bins_hold_every_image_once():
    logits, labels = world(100, 1.0)
    rows = reliability(softmax(logits, axis=1), labels)
    assert sum(share for share, _, _ in rows) == pytest.approx(1)
    assert all(0 <= right <= 1 and 0 <= said <= 1 for _, said, right in rows)


def test_the_score_has_an_interval_and_repeats_itself():
    logits, labels = world(100, 2.0)
    scores = [calibration_score(softmax(logits, axis=1), labels) for _ in range(2)]
    assert scores[0] == scores[1]
    assert scores[0].low <= scores[0].high
    assert scores[0].n == 100


def test_nothing_is_not_perfectly_calibrated():
    with pytest.raises(EmptyDataset):
        calibration_error(np.zeros((0, 2)), np.zeros(0, np.int64))
