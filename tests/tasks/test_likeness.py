"""Two sets of vectors are compared by measures that a slower second way agrees with."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from kenspeckle.errors import DataError
from kenspeckle.tasks import likeness
from kenspeckle.tasks.likeness import (
    TOO_MANY,
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    memorised,
)


def normal(seed: int, rows: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(likeness, "PIECE", 7)


MEASURES = (frechet_distance, kernel_distance, coverage, density)


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_the_frechet_distance_is_that_of_a_square_root_of_the_product(seed, width):
    a = normal(seed, 40, width) @ normal(seed + 1, width, width)
    b = normal(seed + 2, 30, width) + 1
    first, second = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
    root = np.real(scipy.linalg.sqrtm(first @ second))
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_frechet_distance_of_two_lines_is_known():
    """For one number a row: (m_a - m_b)^2 + (s_a - s_b)^2."""
    a = np.array([[0.0], [2.0]])  # mean 1, deviation sqrt 2
    b = np.array([[0.0], [6.0]])  # mean 3, deviation 3 sqrt 2
    assert frechet_distance(a, b) == pytest.approx(4 + 8)


def test_the_frechet_distance_copes_with_fewer_rows_than_numbers():
    a, b = normal(0, 5, 30), normal(1, 6, 30)
    assert np.isfinite(frechet_distance(a, b))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_frechet_distance_is_symmetric_and_turns_with_the_axes(seed):
    a, b = normal(seed, 50), 2 * normal(seed + 1, 50) + 1
    turn = np.linalg.qr(normal(seed + 2, 4))[0]
    there = frechet_distance(a, b)
    assert there == pytest.approx(frechet_distance(b, a))
    assert there == pytest.approx(frechet_distance(a @ turn, b @ turn))
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * there)


def test_the_frechet_distance_floor_falls_with_the_number_of_rows():
    few = frechet_distance(normal(0, 50, 16), normal(1, 50, 16))
    many = frechet_distance(normal(0, 5000, 16), normal(1, 5000, 16))
    assert many < few / 20


def test_the_kernel_distance_is_the_mean_over_all_pairs(small_pieces):
    a, b = normal(0, 20), normal(1, 17) + 0.5

    def kernel(x, y):
        return (x @ y / 4 + 1) ** 3

    def inside(rows):
        n = len(rows)
        pairs = [kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j]
        return np.mean(pairs)

    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(inside(a) + inside(b) - 2 * across)


def test_the_kernel_distance_has_no_floor():
    values = [kernel_distance(normal(i, 40, 8), normal(1000 + i, 40, 8)) for i in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


@given(st.integers(0, 1000), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_coverage_and_density_are_those_of_the_definition(seed, k):
    real, drawn = normal(seed, 23), 0.7 * normal(seed + 1, 31) + 0.3
    radii = np.sort(cdist(real, real), axis=1)[:, k]  # column 0 is the row itself
    is_inside = cdist(real, drawn) <= radii[:, None]
    before, likeness.PIECE = likeness.PIECE, 7
    try:
        assert coverage(real, drawn, k).value == pytest.approx(is_inside.any(1).mean())
        assert density(real, drawn, k) == pytest.approx(is_inside.sum() / (k * 31))
    finally:
        likeness.PIECE = before


def test_equal_distributions_have_the_expected_coverage_and_density():
    found = [
        (coverage(a, b).value, density(a, b))
        for a, b in ((normal(i, 400, 8), normal(100 + i, 400, 8)) for i in range(20))
    ]
    cover, dense = np.mean(found, axis=0)
    assert cover == pytest.approx(1 - 1 / 2**5, abs=0.01)
    assert dense == pytest.approx(1, abs=0.03)


def test_a_missing_kind_lowers_coverage_and_not_density():
    two_kinds = np.concatenate([normal(0, 200), normal(1, 200) + 50])
    one_kind = normal(2, 400)
    assert coverage(two_kinds, one_kind).value <= 0.5
    assert density(two_kinds, one_kind) > 0.9


def test_the_interval_of_coverage_rests_on_the_real_images():
    found = coverage(normal(0, 60), normal(1, 20))
    assert found.n == 60
    assert found.low <= found.value <= found.high


def test_a_copy_covers_even_where_everything_is_a_copy():
    assert coverage(np.ones((9, 3)), np.ones((2, 3))).value == 1


def test_copies_of_training_images_are_flagged_and_named(small_pieces):
    train, held_out = normal(0, 300, 16), normal(1, 200, 16)
    drawn = normal(2, 40, 16)
    drawn[[5, 31]] = train[[17, 250]]
    found = memorised(drawn, train, held_out)
    assert found.rows[:2].tolist() == [5, 31]
    assert found.nearest[:2].tolist() == [17, 250]
    assert found.distances[:2].tolist() == [0, 0]
    assert found.is_flagged
    assert found.share.n == 40


def test_every_nearest_training_image_is_the_nearest(small_pieces):
    drawn, train = normal(0, 33), normal(1, 40)
    found = memorised(drawn, train, normal(2, 25))
    between = cdist(drawn, train)
    assert np.array_equal(found.nearest, between.argmin(1)[found.rows])
    assert found.distances == pytest.approx(np.sort(between.min(1)))
    held = cdist(normal(2, 25), train).min(1)
    assert found.threshold == pytest.approx(np.quantile(held, 0.01))
    assert found.share.value == (found.distances < found.threshold).mean()


def test_fresh_images_of_the_same_distribution_are_not_flagged():
    shares = [
        memorised(*(normal(10 * i + j, 1000, 8) for j in range(3))).share.value for i in range(5)
    ]
    assert np.mean(shares) < TOO_MANY


@given(st.integers(0, 100), st.floats(-1e6, 1e6))
@settings(max_examples=25, deadline=None)
def test_moving_everything_changes_no_distance(seed, by):
    real, drawn = normal(seed, 30), normal(seed + 1, 30)
    assert coverage(real + by, drawn + by).value == coverage(real, drawn).value
    far = memorised(drawn + by, real + by, drawn[::-1] + by)
    assert far.distances == pytest.approx(memorised(drawn, real, drawn[::-1]).distances, abs=1e-8)


def test_single_precision_features_are_measured_in_double():
    a, b = normal(0, 50).astype(np.float32), normal(1, 50).astype(np.float32)
    for measure in MEASURES:
        assert measure(a, b) == measure(a.astype(np.float64), b.astype(np.float64))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "other",
    [np.zeros((9, 5)), np.zeros(9), np.zeros((0, 4)), np.full((9, 4), np.nan)],
    ids=["width", "one axis", "no row", "not a number"],
)
def test_sets_that_cannot_be_compared_are_refused(measure, other):
    with pytest.raises(DataError):
        measure(normal(0, 9), other)


@pytest.mark.parametrize("k", [0, 9])
def test_a_neighbour_that_does_not_exist_is_refused(k):
    with pytest.raises(DataError, match="neighbour"):
        coverage(normal(0, 9), normal(1, 9), k)
