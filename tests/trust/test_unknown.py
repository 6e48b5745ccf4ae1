"""What lies far from every training image is refused, by a distance that is symmetric and known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenspeckle.answer import Answer
from kenspeckle.trust.unknown import (
    FEWEST,
    Familiar,
    familiar_from,
    fit_familiar,
    refuse_unknown,
    unit,
)

NONE = np.zeros(0, np.float32)


def on_circle(*degrees: float) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def answer(label: str) -> Answer:
    return Answer("x", label, {label: 1.0}, label)


def test_the_distance_is_one_minus_the_cosine():
    familiar = Familiar(on_circle(0), 1.0, NONE)
    found = familiar.distances(on_circle(0, 60, 90, 180, -60))
    assert found == pytest.approx([0, 0.5, 1, 2, 0.5], abs=1e-6)


def test_the_nearest_training_image_counts():
    familiar = Familiar(on_circle(0, 90, 200), 1.0, NONE)
    rows, cosines = familiar.nearest(on_circle(80), 2)
    assert rows.tolist() == [[1, 0]]
    expected = [math.cos(math.radians(10)), math.cos(math.radians(80))]
    assert cosines[0] == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(0, 360), min_size=1, max_size=5), st.floats(0, 360), st.floats(0, 360))
def test_turning_everything_changes_no_distance(training, asked, turn):
    before = Familiar(on_circle(*training), 1.0, NONE).distances(on_circle(asked))
    turned = Familiar(on_circle(*[a + turn for a in training]), 1.0, NONE)
    assert turned.distances(on_circle(asked + turn)) == pytest.approx(before, abs=1e-5)


@given(st.floats(0, 360), st.floats(0, 360))
def test_a_is_as_far_from_b_as_b_from_a(a, b):
    there = Familiar(on_circle(a), 1.0, NONE).distances(on_circle(b))
    back = Familiar(on_circle(b), 1.0, NONE).distances(on_circle(a))
    assert there == pytest.approx(back, abs=1e-6)


def test_more_asked_for_than_there_are_gives_all():
    rows, cosines = Familiar(on_circle(0, 90), 1.0, NONE).nearest(on_circle(10), 9)
    assert rows.shape == cosines.shape == (1, 2)


def test_many_at_once_are_as_one_by_one():
    random = np.random.default_rng(0)
    familiar = Familiar(unit(random.normal(size=(20, 8))), 1.0, NONE)
    asked = unit(random.normal(size=(3000, 8)))
    together = familiar.distances(asked)
    few = np.concatenate([familiar.distances(asked[i : i + 1]) for i in range(0, 3000, 500)])
    assert together[::500] == pytest.approx(few, abs=1e-6)


def test_rows_become_of_length_one_and_nothing_stays_nothing():
    found = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert found == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))
    assert found.dtype == np.float32


def test_the_threshold_refuses_the_share_that_was_asked():
    held_out = np.random.default_rng(0).permutation(np.arange(1, 101) / 100).astype(np.float32)
    familiar = familiar_from(on_circle(0), held_out, 0.05)
    assert (held_out > familiar.threshold).sum() == 5
    assert np.array_equal(familiar.reference, np.sort(held_out))


def test_too_few_images_refuse_nothing():
    held_out = np.ones(FEWEST - 1, np.float32)
    assert familiar_from(on_circle(0), held_out, 0.05).threshold == float("inf")


def test_an_image_is_measured_against_other_folds_only():
    degrees = np.repeat(np.arange(12) * 30.0, 2)  # each vector twice, both in one fold
    folds = np.repeat(np.arange(12) % 4, 2)
    familiar = fit_familiar(on_circle(*degrees), folds, 0.0)
    assert familiar.reference == pytest.approx(1 - math.cos(math.radians(30)), abs=1e-6)
    assert familiar.vectors.shape == (24, 2)


def test_one_fold_alone_sets_no_threshold():
    familiar = fit_familiar(on_circle(*range(30)), np.zeros(30, np.int64), 0.05)
    assert familiar.threshold == float("inf")
    assert len(familiar.reference) == 0


def test_beyond_the_threshold_no_class_is_claimed():
    near, far = refuse_unknown([answer("cat"), answer("cat")], np.array([0.2, 0.6]), 0.4)
    assert (near.label, near.unknown, near.distance) == ("cat", False, pytest.approx(0.5))
    assert (far.label, far.unknown, far.distance) == (None, True, pytest.approx(1.5))
    assert "unknown" in far.words
    assert "cat" in far.words
    assert far.probabilities == {"cat": 1.0}


def test_on_the_threshold_a_class_is_claimed():
    (told,) = refuse_unknown([answer("cat")], np.array([0.4], np.float64), 0.4)
    assert not told.unknown


def test_no_threshold_refuses_nothing():
    (told,) = refuse_unknown([answer("cat")], np.array([2.0]), float("inf"))
    assert told.label == "cat"


def test_a_training_image_is_known_whatever_the_threshold():
    (told,) = refuse_unknown([answer("cat")], np.array([0.0]), 0.0)
    assert not told.unknown
