"""Any of K: thresholds, average precision and scores against slower or other people's counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from kenspeckle.data.dataset import joined_tags, tags_in
from kenspeckle.errors import DataError
from kenspeckle.tasks.tag import FEWEST, Tag, best_threshold, mean_average_precision

CLASSES = ("big", "red", "wet")
LABELS = ("big;red", "red", "-", "red;wet", "wet", "-")
SAID = np.array(  # probabilities of `LABELS`: one label missed (wet), one too many (big)
    [[0.9, 0.8, 0.1], [0.6, 0.9, 0.2], [0.1, 0.1, 0.1], [0.2, 0.7, 0.9], [0.1, 0.3, 0.4], [0.1] * 3]
)
table = st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=1, max_size=25)


def logits(probabilities: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.log(probabilities / (1 - probabilities)))


def answers(task: Tag):
    return task.decode(logits(SAID), [str(i) for i in range(len(SAID))])


def f1_at(said: np.ndarray, true: np.ndarray, threshold: float) -> float:
    claimed = said >= threshold
    return float(2 * (claimed & true).sum() / (claimed.sum() + true.sum()))


@settings(max_examples=50, deadline=None)
@given(table)
def test_no_threshold_has_a_better_f1(rows):
    said, true = np.array([p for p, _ in rows]) / 100, np.array([t for _, t in rows])
    found = best_threshold(said, true)
    if true.sum() < FEWEST or true.all():
        assert found == 0.5
        return
    best = max(f1_at(said, true, t) for t in np.linspace(0.005, 0.995, 199))
    if said.min() > 0.02 and said.max() < 0.98:  # thresholds stay between 0.02 and 0.98
        assert f1_at(said, true, found) == pytest.approx(best)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30))
def test_average_precision_is_sklearns_where_nothing_ties(seed, n):
    random = np.random.default_rng(seed)
    likely = random.permutation(3 * n).reshape(n, 3).astype(float)
    true = random.random((n, 3)) < 0.4
    true[0] = True
    expected = np.mean([average_precision_score(true[:, k], likely[:, k]) for k in range(3)])
    assert mean_average_precision(likely, true) == pytest.approx(expected)


def test_of_equal_probabilities_the_wrong_ones_come_first():
    assert mean_average_precision(np.ones((4, 1)), np.array([[1], [0], [0], [0]]) > 0) == 0.25


def test_a_label_that_never_occurs_has_no_average_precision():
    assert np.isnan(mean_average_precision(np.ones((2, 1)), np.zeros((2, 1), bool)))


def test_labels_that_reach_their_threshold_are_said():
    said = [answer.label for answer in answers(Tag(CLASSES))]
    assert said == ["big;red", "big;red", "-", "red;wet", "-", "-"]


def test_a_threshold_of_its_own_changes_one_label():
    said = [answer.label for answer in answers(Tag(CLASSES, thresholds=(0.7, 0.5, 0.35)))]
    assert said == list(LABELS)


def test_an_answer_reads_from_the_likeliest_label_on():
    first, _, none, *_ = answers(Tag(CLASSES))
    assert first.words == "big (90 %), red (80 %)"
    assert none.words == "none of the 3 labels"
    assert list(first.probabilities) == ["big", "red", "wet"]


def test_scores_of_a_table_made_by_hand():
    task = Tag(CLASSES)
    scores = task.score(answers(task), LABELS)
    assert scores["micro_precision_score"].value == pytest.approx(5 / 6)
    assert scores["micro_recall_score"].value == pytest.approx(5 / 6)
    assert scores["micro_f1_score"].value == pytest.approx(5 / 6)
    assert scores["exact_match_score"].value == pytest.approx(4 / 6)
    true = task.collate(LABELS).numpy()
    assert scores["macro_f1_score"].value == pytest.approx(
        f1_score(true, SAID >= 0.5, average="macro")
    )
    assert scores["mean_average_precision_score"].value == pytest.approx(1.0)
    assert all(s.low <= s.value <= s.high for s in scores.values())


def test_where_no_label_is_said_there_is_no_precision():
    task = Tag(CLASSES, thresholds=(0.95, 0.95, 0.95))
    scores = task.score(answers(task), LABELS)
    assert "micro_precision_score" not in scores
    assert scores["micro_recall_score"].value == 0.0
    assert np.isfinite([score.value for score in scores.values()]).all()


def test_where_no_label_is_there_nothing_can_be_scored():
    task = Tag(CLASSES)
    assert task.score(answers(task), ["-"] * 6) == {}


def test_details_count_each_label_by_itself():
    task = Tag(CLASSES)
    big, red, wet = task.details(answers(task), LABELS)["labels"]
    assert (big["label"], big["n"], big["threshold"]) == ("big", 1, 0.5)
    assert (big["precision"]["value"], big["recall"]["value"]) == (0.5, 1.0)
    assert (red["precision"]["value"], red["recall"]["value"]) == (1.0, 1.0)
    assert (wet["precision"]["value"], wet["recall"]["value"]) == (1.0, 0.5)
    assert wet["f1"]["value"] == pytest.approx(2 / 3)


def test_calibration_finds_a_threshold_for_each_label():
    random = np.random.default_rng(0)
    true = random.random((60, 2)) < 0.3
    raw = np.where(true, -1.0, -3.0) + random.normal(0, 0.3, (60, 2))  # all below one half
    task = Tag(("a", "b"))
    task.calibrate(raw, true.astype(np.int64))
    told = task.decode(torch.from_numpy(raw), [""] * 60)
    assert np.array_equal(task.collate([a.label for a in told]).numpy() > 0, true)


def test_what_it_keeps_makes_it_again():
    task = Tag(CLASSES, thresholds=(0.2, 0.3, 0.4), temperature=2.0)
    again = Tag(CLASSES, **task.kept())
    assert [a.label for a in answers(again)] == [a.label for a in answers(task)]


def test_strata_are_the_rarest_label():
    labels = ["red", "red", "big;red", "wet;red", "wet", "-"]
    assert Tag(CLASSES).strata(labels).tolist() == [1, 1, 0, 2, 2, 3]


def test_a_label_without_a_name_in_the_list_is_refused():
    with pytest.raises(DataError, match="'dry'"):
        Tag(CLASSES).collate(["dry;red"])
    with pytest.raises(DataError, match="'-' for none"):
        Tag(CLASSES).collate([None])


@settings(max_examples=50, deadline=None)
@given(st.sets(st.sampled_from(["a", "b 1", "C", "img10", "img2"])))
def test_labels_survive_being_joined(names):
    assert set(tags_in(joined_tags(names))) == names
