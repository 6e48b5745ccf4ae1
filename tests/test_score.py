"""Intervals are the published ones, and groups of images widen them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenspeckle.errors import EmptyDataset
from kenspeckle.score import accuracy_score, bootstrap, paired_difference, proportion


# Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (score without correction)
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_newcombes(right, n, low, high):
    score = proportion(right, n)
    assert (round(score.low, 4), round(score.high, 4)) == (low, high)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_ends_are_where_the_score_test_is_just_rejected(pair):
    right, n = pair
    score = proportion(right, n)
    assert 0 <= score.low <= score.value + 1e-15
    assert score.value - 1e-15 <= score.high <= 1
    for end in (score.low, score.high):
        if 1e-9 < end < 1 - 1e-9:
            z = (score.value - end) / math.sqrt(end * (1 - end) / n)
            assert abs(z) == pytest.approx(1.959963984540054, rel=1e-6)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_right_and_wrong_mirror_each_other(pair):
    right, n = pair
    one, other = proportion(right, n), proportion(n - right, n)
    assert one.low == pytest.approx(1 - other.high, abs=1e-12)


def test_more_images_narrow_the_interval():
    widths = [proportion(n * 8 // 10, n) for n in (10, 100, 1000)]
    assert sorted(widths, key=lambda s: s.low - s.high) == widths


@pytest.mark.parametrize("measure", [lambda: proportion(0, 0), lambda: bootstrap(lambda r: 0, 0)])
def test_nothing_measured_is_no_score(measure):
    with pytest.raises(EmptyDataset):
        measure()


def test_the_bootstrap_of_a_mean_is_that_of_the_central_limit():
    values = np.random.default_rng(0).normal(5, 2, 400)
    score = bootstrap(lambda rows: float(values[rows].mean()), 400, draws=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert score.low == pytest.approx(values.mean() - half, abs=0.02)
    assert score.high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_bootstrap_repeats_itself():
    values = np.arange(20.0)
    scores = [bootstrap(lambda rows: float(values[rows].mean()), 20) for _ in range(2)]
    assert scores[0] == scores[1]


def test_groups_that_are_alike_widen_the_interval():
    right = np.repeat(np.random.default_rng(0).random(30) < 0.7, 10)
    alone, together = (
        accuracy_score(right),
        accuracy_score(right, np.repeat(range(30), 10).tolist()),
    )
    assert alone.value == together.value
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert (alone.n, together.n) == (300, 30)
    assert together.method == "bootstrap over 30 groups"


def test_groups_of_one_are_no_groups():
    right = np.array([True, False, True])
    assert accuracy_score(right, ["a", "b", "c"]) == accuracy_score(right)


def test_groups_are_drawn_whole():
    groups, seen = ["a", "b", "a", "b", "b"], []

    def statistic(rows):
        seen.append(np.bincount(rows, minlength=5))
        return 0.0

    bootstrap(statistic, 5, groups, draws=50)
    for counts in seen:
        assert counts[0] == counts[2]
        assert counts[1] == counts[3] == counts[4]


def test_no_difference_is_within_noise():
    same = np.random.default_rng(0).random(50)
    assert (paired_difference(same, same).low, paired_difference(same, same).high) == (0, 0)


def test_a_difference_turns_with_its_sides():
    random = np.random.default_rng(1)
    one, two = random.random(60), random.random(60)
    assert paired_difference(one, two).value == pytest.approx(-paired_difference(two, one).value)


def test_a_score_says_itself():
    assert proportion(130, 150).percent() == "86.7 % (80.3 to 91.2, n = 150)"
