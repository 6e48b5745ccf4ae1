"""Average precision against a slower second counting, and scores of tables made by hand."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.boxes import Box
from kenspeckle.errors import EmptyDataset
from kenspeckle.tasks.average_precision import (
    average_precision,
    best_threshold,
    detection_scores,
    matches,
    mean_average_precision,
)

NAMES = ("a", "b")


def square(x: float, score: float = 1.0, name: str = "a") -> Box:
    return Box(name, x, 0, x + 10, 10, score)


def drawn(seed: int, images: int = 6, most: int = 8):
    """True boxes, and what a rather poor detector says of them; no two scores are equal."""
    random = np.random.default_rng(seed)
    scores = iter(random.permutation(10 * images * most) / (10 * images * most))
    true, said = [], []
    for _ in range(images):
        real = [
            Box(str(random.choice(NAMES)), x, y, x + w, y + h)
            for x, y, w, h in random.uniform((0, 0, 5, 5), (40, 40, 20, 20), (most, 4))
        ][: random.integers(0, most)]
        near = [
            Box(
                b.name if random.random() < 0.9 else "a",
                *(np.array(b.corners()) + random.normal(0, 1.5, 4)).tolist(),
                float(next(scores)),
            )
            for b in [*real, *real[:2]]
        ]
        true.append(real)
        said.append([near[i] for i in random.permutation(len(near))])
    return said, true


def overlap_of(one: Box, two: Box) -> float:
    across = min(one.right, two.right) - max(one.left, two.left)
    down = min(one.bottom, two.bottom) - max(one.top, two.top)
    shared = max(across, 0) * max(down, 0)
    areas = [(b.right - b.left) * (b.bottom - b.top) for b in (one, two)]
    return shared / (sum(areas) - shared)


def slow_average_precision(said, true, name, overlap=0.5) -> float:
    """All boxes of all images in one list; then the area, step by step."""
    real = {(i, j): b for i, row in enumerate(true) for j, b in enumerate(row) if b.name == name}
    claimed = [(i, b) for i, row in enumerate(said) for b in row if b.name == name]
    taken, points, right = set(), [(0.0, 1.0)], 0
    for rank, (i, box) in enumerate(sorted(claimed, key=lambda c: -c[1].score), 1):
        free = [k for k in real if k[0] == i and k not in taken]
        best = max(free, key=lambda k: overlap_of(box, real[k]), default=None)
        if best is not None and overlap_of(box, real[best]) >= overlap:
            taken.add(best)
            right += 1
        points.append((right / len(real), right / rank))
    area = 0.0
    for (recall, _), (more, _) in pairwise(points):
        area += (more - recall) * max(p for r, p in points if r >= more)
    return area


@pytest.mark.parametrize("overlap", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(12))
def test_average_precision_is_what_a_slower_counting_gives(seed, overlap):
    said, true = drawn(seed)
    for name in NAMES:
        expected = slow_average_precision(said, true, name, overlap)
        assert average_precision(said, true, name, overlap) == pytest.approx(expected)


def test_a_ranking_by_hand():
    true = [[square(0), square(20), square(40)]]
    said = [[square(0, 0.9), square(100, 0.8), square(20, 0.7), square(200, 0.6)]]
    # right, wrong, right, wrong: precision 1 at recall 1/3, 2/3 at recall 2/3, never 1
    assert average_precision(said, true, "a") == pytest.approx((1 + 2 / 3) / 3)


def test_all_found_is_one_and_nothing_said_is_zero():
    said, true = [[square(0, 0.3)], []], [[square(0)], []]
    assert average_precision(said, true, "a") == 1.0
    assert average_precision([[], []], true, "a") == 0.0


def test_a_class_that_never_occurs_has_no_average_precision():
    assert np.isnan(average_precision([[square(0)]], [[]], "a"))
    assert mean_average_precision([[square(0)]], [[square(0)]], NAMES) == 1.0
    assert np.isnan(mean_average_precision([[]], [[]], NAMES))


def test_a_second_box_on_one_thing_is_wrong():
    said = [[square(0, 0.9), square(1, 0.8)]]
    assert matches(said, [[square(0)]], "a").hits.tolist() == [True, False]


def test_the_surest_box_takes_the_one_it_overlaps_most():
    said = [[square(3, 0.9), square(0, 0.8)]]
    assert matches(said, [[square(0), square(4)]], "a").hits.tolist() == [True, True]


def test_a_box_of_another_class_or_image_finds_nothing():
    said = [[square(0, 0.9, "b")], [square(0, 0.8)]]
    assert matches(said, [[square(0)], []], "a").hits.tolist() == [False]


def test_of_equal_scores_the_wrong_ones_come_first():
    said = [[square(0, 0.5)], [square(50, 0.5)]]
    assert average_precision(said, [[square(0)], []], "a") == 0.5


def test_leaving_out_unsure_boxes_does_not_change_the_match_of_others():
    said, true = drawn(3)
    whole = matches(said, true, "a")
    for threshold in (0.2, 0.5, 0.8):
        sure = [[b for b in row if b.score >= threshold] for row in said]
        part = matches(sure, true, "a")
        claimed, right = whole.at(threshold)
        assert claimed.sum() == len(part.scores)
        assert right.sum() == part.hits.sum()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_images_drawn_again_count_as_often_as_they_are_drawn(seed, rows):
    said, true = drawn(seed)
    times = np.bincount(rows, minlength=6)
    again = average_precision([said[i] for i in rows], [true[i] for i in rows], "a")
    assert matches(said, true, "a").average_precision(times) == pytest.approx(again, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_no_threshold_has_a_better_f1(seed):
    said, true = drawn(seed)
    every = [matches(said, true, name) for name in NAMES]

    def f1(threshold: float) -> float:
        claimed, right = (sum(m.at(threshold)[k].sum() for m in every) for k in (0, 1))
        return 2 * right / max(claimed + sum(m.true.sum() for m in every), 1)

    thresholds = np.concatenate([m.scores for m in every])
    found = f1(best_threshold(said, true, NAMES))
    assert found == pytest.approx(max((f1(t) for t in thresholds), default=0))


def test_a_threshold_does_not_part_equal_scores():
    said = [[square(0, 0.5), square(50, 0.5), square(90, 0.0)]]
    assert best_threshold(said, [[square(0)]], NAMES) == 0.25
    assert best_threshold([[square(0, 0.0)]], [[square(0)]], NAMES) == 0.0


def test_where_nothing_is_right_the_threshold_is_one_half():
    assert best_threshold([[square(50, 0.9)]], [[square(0)]], NAMES) == 0.5
    assert best_threshold([[]], [[]], NAMES) == 0.5


def test_scores_of_a_table_made_by_hand():
    true = [[square(0), square(0, name="b")], [square(0)], []]
    said = [
        [square(0, 0.9), square(50, 0.8, "b")],
        [square(0, 0.2)],
        [square(0, 0.7, "b")],
    ]
    scores = detection_scores(said, true, NAMES, threshold=0.5)
    assert scores["average_precision_50_score"].value == pytest.approx(0.5)  # 1 of a, 0 of b
    assert scores["precision_score"].value == pytest.approx(1 / 3)
    assert scores["recall_score"].value == pytest.approx(1 / 3)
    assert scores["counting_error"].value == pytest.approx(2 / 3)  # 0, 1 too few, 1 too many
    assert all(s.low <= s.value <= s.high and s.n == 3 for s in scores.values())


def test_intervals_are_over_groups_where_there_are_any():
    said, true = drawn(1)
    scores = detection_scores(said, true, NAMES, ["p", "p", "q", "q", "r", "r"])
    assert {score.n for score in scores.values()} == {3}
    assert scores["counting_error"].method == "bootstrap over 3 groups"


def test_a_perfect_result_claims_no_certainty():
    boxes = [[square(0)]] * 5
    scores = detection_scores(boxes, boxes, ("a",))
    assert scores["average_precision_50_score"].low == scores["recall_score"].low < 0.6


def test_what_has_no_value_is_left_out():
    assert list(detection_scores([[]], [[]], NAMES)) == ["counting_error"]
    assert "precision_score" not in detection_scores([[]], [[square(0)]], NAMES)
    assert "recall_score" not in detection_scores([[square(0)]], [[]], NAMES)


def test_without_images_there_is_no_score():
    with pytest.raises(EmptyDataset):
        detection_scores([], [], NAMES)


def test_a_hundred_images_take_less_than_two_seconds():
    said, true = drawn(0, images=100, most=20)
    began = time.process_time()
    detection_scores(said, true, NAMES)
    assert time.process_time() - began < 2
