"""Pairs are told apart as the definitions say, and intervals come from drawing people."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from kenspeckle.errors import DataError, EmptyDataset, UsageError
from kenspeckle.tasks import verification
from kenspeckle.tasks.verification import (
    all_pairs,
    area_under_roc,
    equal_error_rate,
    rank_1,
    roc,
    threshold_for,
    verification_scores,
)


@st.composite
def compared_pairs(draw):
    """Similarities with ties, and which pairs are same ones; at least one of either kind."""
    labels = draw(st.lists(st.booleans(), min_size=2, max_size=40).filter(any))
    similar = draw(st.lists(st.integers(-4, 4), min_size=len(labels), max_size=len(labels)))
    return np.array(similar) / 4, np.array([*labels[:-1], False] if all(labels) else labels)


def crowd(people: int, images: int, spread: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Vectors of images scattered around one direction a person."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(size=(people, 8)), images, axis=0)
    names = np.repeat([f"person {i}" for i in range(people)], images).tolist()
    return centres + spread * random.normal(size=centres.shape), names


def test_every_two_images_are_compared_once_by_their_cosine():
    vectors = np.array([[1.0, 0], [1, 1], [0, -3]])
    pairs = all_pairs(vectors, ["anna", "beth", "anna"])
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]
    half = math.sqrt(0.5)
    assert pairs.similar == pytest.approx([half, 0, -half], abs=1e-6)
    assert pairs.same.tolist() == [False, True, False]


@settings(max_examples=50, deadline=None)
@given(compared_pairs())
def test_the_curve_is_scikit_learns(pairs):
    similar, same = pairs
    curve = roc(similar, same)
    false, true, thresholds = roc_curve(same, similar, drop_intermediate=False)
    assert curve.false_accept == pytest.approx(false)
    assert curve.true_accept == pytest.approx(true)
    assert curve.thresholds.tolist() == thresholds.tolist()


@settings(max_examples=50, deadline=None)
@given(compared_pairs())
def test_the_area_is_scikit_learns_and_the_chance_of_the_right_order(pairs):
    similar, same = pairs
    area = area_under_roc(similar, same)
    assert area == pytest.approx(roc_auc_score(same, similar))
    gap = similar[same][:, None] - similar[~same]
    assert area == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean())


@settings(max_examples=50, deadline=None)
@given(compared_pairs())
def test_turning_the_order_around_mirrors_area_and_equal_error(pairs):
    similar, same = pairs
    assert area_under_roc(-similar, same) == pytest.approx(1 - area_under_roc(similar, same))
    assert equal_error_rate(-similar, same) == pytest.approx(1 - equal_error_rate(similar, same))


@settings(max_examples=50, deadline=None)
@given(compared_pairs())
def test_only_the_order_of_similarities_matters(pairs):
    similar, same = pairs
    for changed in (np.exp(similar), 5 * similar - 2):
        assert area_under_roc(changed, same) == area_under_roc(similar, same)
        assert equal_error_rate(changed, same) == equal_error_rate(similar, same)


def test_the_equal_error_of_two_normal_distributions_is_the_known_one():
    random = np.random.default_rng(0)
    same = np.repeat([True, False], 40_000)
    similar = random.normal(np.where(same, 1.0, -1.0))
    expected = 0.5 * math.erfc(1 / math.sqrt(2))  # the normal tail beyond 1: 0.1587
    assert equal_error_rate(similar, same) == pytest.approx(expected, abs=0.004)


def test_pairs_that_do_not_overlap_have_no_error():
    similar, same = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    assert (area_under_roc(similar, same), equal_error_rate(similar, same)) == (1, 0)


def test_pairs_that_are_all_alike_tell_nothing():
    similar, same = np.ones(4), np.array([True, True, False, False])
    assert (area_under_roc(similar, same), equal_error_rate(similar, same)) == (0.5, 0.5)


@pytest.mark.parametrize("kind", [True, False])
def test_pairs_of_one_kind_have_no_curve(kind):
    with pytest.raises(EmptyDataset):
        roc(np.array([0.1, 0.2]), np.array([kind, kind]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=10, max_size=60),
    st.sampled_from([0.1, 0.2, 0.29, 0.5]),
    st.sampled_from([np.float32, np.float64]),
)
def test_a_threshold_never_accepts_more_than_was_wanted(different, rate, kind):
    different = np.array(different, kind)
    accepted = different >= threshold_for(different, rate)
    assert accepted.sum() <= rate * len(different) + 1e-9


def test_a_threshold_accepts_as_many_as_it_may():
    different = np.random.default_rng(0).permutation(np.arange(1000) / 1000)
    assert (different >= threshold_for(different, 0.01)).sum() == 10
    assert (different >= threshold_for(different, 0.001)).sum() == 1


def test_pairs_that_are_equally_similar_are_accepted_together_or_not_at_all():
    different = np.repeat([0.5, 0.1], [30, 70])
    assert (different >= threshold_for(different, 0.2)).sum() == 0
    assert (different >= threshold_for(different, 0.3)).sum() == 30


def test_too_few_pairs_set_no_threshold():
    with pytest.raises(DataError, match=r"at least 1000 pairs of different people, found 999"):
        threshold_for(np.zeros(999), 0.001)
    threshold_for(np.zeros(1000), 0.001)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_is_a_share(rate):
    with pytest.raises(UsageError):
        threshold_for(np.zeros(100), rate)


def test_who_is_nearest_to_someone_else_is_not_identified():
    vectors = np.array([[1.0, 0], [1, 0.2], [0.9, 0.5], [0, 1], [0.1, 1]])
    rows, right = rank_1(vectors, ["anna", "anna", "beth", "beth", "carl"])
    assert rows.tolist() == [0, 1, 2, 3]  # carl has no second image
    assert right.tolist() == [True, True, False, False]


def test_the_same_image_under_two_names_is_not_identified():
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    rows, right = rank_1(vectors, ["anna", "anna", "beth", "beth"])
    assert rows.tolist() == [0, 1, 2, 3]
    assert not right.any()


def test_scores_are_those_of_the_second_implementation():
    vectors, names = crowd(12, 5, 0.9)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    who = np.array(names)
    first, second = np.triu_indices(len(names), 1)
    same = who[first] == who[second]
    scores = verification_scores(vectors, names)
    expected = roc_auc_score(same, alike[first, second])
    assert scores["roc_auc_score"].value == pytest.approx(expected, abs=1e-6)
    np.fill_diagonal(alike, -2)
    assert scores["rank_1_score"].value == pytest.approx((who[alike.argmax(1)] == who).mean())
    different = np.sort(alike[first, second][~same])[::-1]
    allowed = int(0.01 * len(different))
    expected = (alike[first, second][same] > different[allowed]).mean()
    assert scores["true_accept_at_0.01_score"].value == pytest.approx(expected)
    assert scores["roc_auc_score"].method == "bootstrap over 12 people"
    assert {score.n for score in scores.values()} == {12}
    for score in scores.values():
        assert 0 <= score.low <= score.value <= score.high <= 1


def by_hand(vectors: np.ndarray, names: list[str], times: np.ndarray) -> float:
    """The area where person k was drawn times[k] times: every pair written out, by scikit-learn."""
    pairs = all_pairs(vectors, names)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    who = np.array([numbers[name] for name in names])
    similar, same = [], []
    for i, j, s in zip(pairs.first, pairs.second, pairs.similar, strict=True):
        a, b = who[i], who[j]
        copies = times[a] if a == b else times[a] * times[b]
        similar += [s] * int(copies)
        same += [a == b] * int(copies)
    return float(roc_auc_score(same, similar))


@pytest.mark.parametrize(("most_bins", "error"), [(2**16, 1e-9), (60, 0.005)])
def test_the_interval_is_that_of_drawing_people_and_writing_out_their_pairs(
    monkeypatch, most_bins, error
):
    monkeypatch.setattr(verification, "MOST_BINS", most_bins)
    monkeypatch.setattr(verification, "DRAWS", 100)
    vectors, names = crowd(6, 4, 0.9)  # 276 pairs
    score = verification_scores(vectors, names)["roc_auc_score"]
    times = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), 100)
    drawn = [by_hand(vectors, names, counts) for counts in times]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (score.low, score.high) == pytest.approx((low, high), abs=error)


def test_drawing_pairs_as_if_they_were_independent_would_be_too_sure():
    vectors, names = crowd(15, 5, 1.2)
    pairs = all_pairs(vectors, names)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(100):
        rows = random.integers(0, len(pairs.same), len(pairs.same))
        drawn.append(roc_auc_score(pairs.same[rows], pairs.similar[rows]))
    naive = np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025)
    score = verification_scores(vectors, names)["roc_auc_score"]
    assert score.high - score.low > 2 * naive


@pytest.mark.slow
def test_intervals_hold_the_true_value_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(verification, "DRAWS", 300)

    def area(people: int, seed: int):
        random = np.random.default_rng(seed)
        vectors = np.repeat(random.normal(size=(people, 8)), 4, axis=0)
        vectors += random.normal(size=vectors.shape)
        return verification_scores(vectors, np.repeat(np.arange(people), 4).astype(str).tolist())

    true = area(400, 1000)["roc_auc_score"].value
    scores = [area(20, seed)["roc_auc_score"] for seed in range(40)]
    held = sum(score.low <= true <= score.high for score in scores)
    assert held >= 32  # 183 of 200 when measured once; P(X <= 31) is 0.006 at 0.915


def test_perfect_vectors_are_not_certain():
    vectors, names = crowd(4, 3, 0.0)
    scores = verification_scores(vectors, names)
    for name in ("roc_auc_score", "rank_1_score"):
        assert scores[name].value == scores[name].high == 1
        assert scores[name].low < 0.9
    assert scores["equal_error"].value == scores["equal_error"].low == 0
    assert scores["equal_error"].high > 0.1


def test_families_drawn_together_widen_the_interval():
    vectors, names = crowd(16, 4, 1.0)
    families = np.repeat(np.arange(4), 16).tolist()
    alone = verification_scores(vectors, names)["roc_auc_score"]
    together = verification_scores(vectors, names, families)["roc_auc_score"]
    assert alone.value == together.value
    assert together.method == "bootstrap over 4 groups"


def test_small_rates_are_told_where_pairs_suffice():
    few = verification_scores(*crowd(4, 2, 0.5))  # 24 different pairs
    some = verification_scores(*crowd(6, 4, 0.5))  # 240
    many = verification_scores(*crowd(12, 4, 0.5))  # 1056
    told = [[n for n in s if n.startswith("true_accept_at")] for s in (few, some, many)]
    assert [len(names) for names in told] == [1, 2, 3]


def test_a_fixed_threshold_is_measured_as_it_stands():
    vectors, names = crowd(10, 4, 0.9)
    pairs = all_pairs(vectors, names)
    scores = verification_scores(vectors, names, threshold=0.6)
    accepted = pairs.similar >= 0.6
    assert scores["false_accept_error"].value == pytest.approx(accepted[~pairs.same].mean())
    assert scores["true_accept_score"].value == pytest.approx(accepted[pairs.same].mean())
    assert scores["false_accept_error"].low < scores["false_accept_error"].high


@pytest.mark.parametrize("names", [["anna", "beth", "carl"], ["anna", "anna", "anna"]])
def test_nothing_to_verify_is_no_score(names):
    with pytest.raises(EmptyDataset):
        verification_scores(np.eye(3), names)


def test_two_people_have_an_interval_though_many_draws_hold_one_of_them():
    score = verification_scores(*crowd(2, 5, 1.5))["roc_auc_score"]
    assert score.low <= score.value <= score.high


def test_the_length_of_vectors_does_not_matter():
    vectors, names = crowd(8, 3, 0.9)
    stretched = vectors * np.random.default_rng(0).uniform(0.1, 9, (len(vectors), 1))
    one, other = (verification_scores(v, names) for v in (vectors, stretched))
    assert one["roc_auc_score"].value == pytest.approx(other["roc_auc_score"].value, abs=1e-3)


@pytest.mark.slow
def test_twenty_people_of_ten_images_take_under_three_seconds():
    vectors, names = crowd(20, 10, 0.9)
    start = time.process_time()
    verification_scores(vectors, names)
    assert time.process_time() - start < 3
