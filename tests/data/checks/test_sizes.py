"""Odd sizes are found where a set has a habit, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.sizes import check_sizes
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import File


def found(sizes: list[tuple[int, int]]):
    samples = tuple(Sample(f"{i}.png", File(Path("x.png")), "a") for i in range(len(sizes)))
    width, height = np.array(sizes, dtype=np.int64).reshape(-1, 2).T
    dataset = Dataset(Path("photos"), samples, ("a",))
    return list(check_sizes(dataset, Evidence(width=width, height=height)))


def test_a_single_pixel_and_a_line_are_warned_of():
    (finding,) = found([(200, 150)] * 12 + [(1, 1), (300, 1)])
    assert (finding.severity, finding.paths) == ("warning", ("12.png", "13.png"))
    assert "12.png is 1 x 1" in finding.words


def test_very_long_pictures_are_noted():
    (finding,) = found([(200, 150)] * 12 + [(801, 200), (100, 401), (800, 200)])
    assert (finding.severity, finding.paths) == ("note", ("12.png", "13.png"))


def test_an_icon_among_photographs_is_noted():
    (finding,) = found([(4000, 3000)] * 30 + [(48, 48)])
    assert (finding.severity, finding.paths) == ("note", ("30.png",))
    assert "4,000 x 3,000, the usual; 30.png is 48 x 48" in finding.words


def test_a_strip_among_photographs_is_noted():
    (finding,) = found([(400, 300)] * 30 + [(900, 300)])
    assert (finding.severity, finding.paths) == ("note", ("30.png",))
    assert "shape" in finding.words


def test_portraits_squares_and_wide_pictures_are_one_shape():
    assert found([(400, 300)] * 20 + [(300, 400), (300, 300), (400, 225)]) == []


def test_the_rows_are_those_that_could_be_read():
    samples = tuple(Sample(f"{i}.png", File(Path("x.png")), "a") for i in range(3))
    sides = np.array([9, 1])
    evidence = Evidence(rows=np.array([0, 2]), width=sides, height=sides)
    (finding,) = check_sizes(Dataset(Path("photos"), samples, ("a",)), evidence)
    assert finding.paths == ("2.png",)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(100, 400), min_size=1, max_size=40))
def test_sides_within_a_factor_of_four_and_square_are_never_odd(sides):
    assert found([(side, side) for side in sides]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), max_size=40))
def test_turning_every_picture_changes_nothing(sizes):
    turned = found([(height, width) for width, height in sizes])
    assert [f.paths for f in found(sizes)] == [f.paths for f in turned]


def test_another_kind_of_picture_is_not_an_exception():
    assert found([(4000, 3000)] * 20 + [(400, 300)] * 5) == []
