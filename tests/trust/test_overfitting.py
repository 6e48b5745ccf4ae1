"""Overfitting named when it is there, and only then."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.score import Score
from kenspeckle.trust.overfitting import Circumstances, difference, overfitting

MANY = Circumstances(
    images_per_class=[500] * 4,
    parameters=10_000,
    has_augmentation=True,
    has_weight_decay=True,
    has_dropout=True,
)


def course(tune, train=None):
    train = [2 / (i + 1) for i in range(len(tune))] if train is None else train
    rows = zip(train, tune, strict=True)
    return [{"epoch": i, "train_loss": a, "tune_loss": b} for i, (a, b) in enumerate(rows, start=1)]


FALLING = course([1.5, 1.2, 1.0, 0.9, 0.85, 0.8, 0.78, 0.77])
RISING = course([1.5, 1.2, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
JITTER = course([1.5, 1.2, 1.0, 1.1, 1.05, 1.08, 1.02, 1.04])
SLIGHT = course([1.5, 1.2, 1.0, 1.01, 1.02, 1.03, 1.04, 1.05])
DIVERGING = course([1.5, 1.2, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5], [2, 1, 0.5, 0.6, 0.7, 0.8, 0.9, 1])

# history, right of training images, right of held-out ones -> verdict, harmful, since
CASES = {
    "a large gap, still getting better": (FALLING, (300, 300), (180, 300), "overfitting", None),
    "a large gap and a loss that rises": (RISING, (300, 300), (180, 300), "overfitting", 4),
    "a loss that rises, no gap shown": (RISING, (290, 300), (285, 300), "overfitting", 4),
    "jitter after the least": (JITTER, (290, 300), (285, 300), "none", None),
    "a rise too slight to count": (SLIGHT, (290, 300), (285, 300), "none", None),
    "both losses rise": (DIVERGING, (290, 300), (285, 300), "none", None),
    "no curve, a large gap": ([], (300, 300), (180, 300), "overfitting", None),
    "the best head on flowers5": ([], (598, 599), (137, 150), "none", None),
    "not even its own images": (FALLING, (100, 300), (95, 300), "underfitting", None),
    "few held-out images": (FALLING, (300, 300), (18, 20), "cannot tell", None),
    "nothing held out": (FALLING, (300, 300), (0, 0), "cannot tell", None),
    "nothing learned from": (FALLING, (0, 0), (20, 30), "cannot tell", None),
    "better on new ones": (FALLING, (270, 300), (285, 300), "none", None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_of_a_known_case(name):
    history, train, test, verdict, since = CASES[name]
    found = overfitting(history, train, test, MANY)
    assert (found.verdict, found.since) == (verdict, since)
    assert found.is_harmful == (since is not None)


@pytest.mark.parametrize("name", CASES)
def test_a_verdict_has_one_remedy_and_none_has_none(name):
    history, train, test, verdict, _ = CASES[name]
    found = overfitting(history, train, test, MANY)
    assert bool(found.cause) == bool(found.remedy) == (verdict != "none")
    assert found.remedy.count(".") <= 1
    assert found.words.endswith(".")


# what is known of the run -> a word of the cause, a word of the remedy
CAUSES = {
    "wrong labels come first": (
        {"has_label_errors": True, "images_per_class": [20] * 4},
        "wrong",
        "list of suspected labels",
    ),
    "few images, all weights learned": (
        {"images_per_class": [102] * 4},
        "102 training images a class are few",
        "packaged features",
    ),
    "few images, fixed features": (
        {"images_per_class": [20] * 4, "is_frozen": True},
        "20 training images a class are few",
        "Add images",
    ),
    "few sequences, for which no features come along": (
        {"images_per_class": [20] * 4, "things": "sequences"},
        "20 training sequences",
        "Add sequences",
    ),
    "many parameters, no augmentation": (
        {"parameters": 10**6, "has_augmentation": False, "has_weight_decay": False},
        "1000000 numbers",
        "augmentation",
    ),
    "many parameters, no weight decay": (
        {"parameters": 10**6, "has_weight_decay": False, "has_dropout": False},
        "1000000 numbers",
        "--weight-decay",
    ),
    "many parameters, no dropout": (
        {"parameters": 10**6, "has_dropout": False},
        "1000000 numbers",
        "dropout",
    ),
    "all is on": ({"parameters": 10**6}, "only its training images have", "Add images"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_and_its_remedy(name):
    known, cause, remedy = CAUSES[name]
    found = overfitting(RISING, (300, 300), (180, 300), replace(MANY, **known))
    assert cause in found.cause
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("train_losses", "frozen", "remedy"),
    [
        ([1.6, 1.5, 1.4, 1.3, 1.2], False, "Train longer"),
        ([1.6, 1.5], False, "Train longer"),
        ([1.6, 1.4, 1.4, 1.41, 1.4], False, "larger network"),
        ([], True, "--freeze no"),
    ],
)
def test_what_is_learned_too_little_is_trained_longer_or_larger(train_losses, frozen, remedy):
    history = course([1.5] * len(train_losses), train_losses)
    found = overfitting(history, (100, 300), (95, 300), replace(MANY, is_frozen=frozen))
    assert found.verdict == "underfitting"
    assert remedy in found.remedy


@pytest.mark.parametrize(("fault", "word"), [("has_leak", "Copies"), ("has_shortcut", "shortcut")])
def test_faults_that_held_out_images_share_hide_a_gap(fault, word):
    hidden = overfitting(FALLING, (295, 300), (290, 300), replace(MANY, **{fault: True}))
    assert hidden.verdict == "cannot tell"
    assert word in hidden.cause
    shown = overfitting(FALLING, (300, 300), (180, 300), replace(MANY, **{fault: True}))
    assert shown.verdict == "overfitting"


@pytest.mark.parametrize(("low", "is_harmful"), [(0.01, True), (-0.01, False)])
def test_a_rise_measured_image_by_image_goes_before_its_size(low, is_harmful):
    rise = Score(0.05, low, 0.09, 100, "bootstrap")
    found = overfitting(SLIGHT, (290, 300), (285, 300), MANY, rise)
    assert found.is_harmful == is_harmful


def test_losses_that_are_not_finite_or_not_there_are_passed_over():
    rows = [*RISING, {"epoch": 9, "train_loss": 0.1, "tune_loss": float("inf")}]
    rows.append({"epoch": 10, "train_loss": 0.1, "tune_loss": None})
    assert overfitting(rows, (300, 300), (180, 300), MANY).since == 4


def test_jitter_alone_is_seldom_called_harmful():
    random, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        tune = 1 + np.exp(-np.arange(25) / 5) + random.normal(0, 0.05, 25)
        alarms += overfitting(course(tune), (290, 300), (285, 300), MANY).is_harmful
    assert alarms <= 10  # 5 %


# Newcombe 1998, Statistics in Medicine 17:873, table II, method 10
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_the_interval_is_newcombes(first, second, low, high):
    score = difference(first, second)
    assert (score.low, score.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts)
@settings(max_examples=50, deadline=None)
def test_a_difference_turned_round_is_its_mirror(first, second):
    one, two = difference(first, second), difference(second, first)
    assert -1 - 1e-12 <= one.low <= one.value <= one.high <= 1 + 1e-12
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))


@given(counts, counts, st.lists(st.floats(0, 9), max_size=12))
@settings(max_examples=50, deadline=None)
def test_every_run_gets_a_verdict_that_is_plain(train, test, losses):
    found = overfitting(course(losses), train, test, Circumstances(images_per_class=[9, 3]))
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
