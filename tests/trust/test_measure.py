"""What a report says of known answers, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenspeckle.answer import Answer
from kenspeckle.tasks.classify import Classify, confusion, per_class
from kenspeckle.tasks.tag import Tag
from kenspeckle.tasks.translate import Translate
from kenspeckle.trust.measure import WORST, measure

CLASSES = ("cat", "dog", "owl")
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


def answer(said: str, p: float = 0.8, unknown: bool = False) -> Answer:
    rest = [name for name in CLASSES if name != said]
    likely = {said: p, **dict.fromkeys(rest, (1 - p) / 2)}
    return Answer("x.png", None if unknown else said, likely, "", unknown=unknown)


@given(pairs)
def test_the_confusion_counts_every_pair(found):
    true, said = np.array(found).T
    counts = confusion(true, said, 3)
    assert counts.tolist() == [[found.count((i, j)) for j in range(3)] for i in range(3)]


@given(pairs)
def test_recall_and_precision_are_rows_and_columns_of_the_confusion(found):
    true, said = np.array(found).T
    counts = confusion(true, said, 3)
    for k, row in enumerate(per_class(true, said, CLASSES, None)):
        assert row["n"] == counts[k].sum()
        for title, among in (("recall", counts[k].sum()), ("precision", counts[:, k].sum())):
            if among:
                assert row[title]["value"] == pytest.approx(counts[k, k] / among)
                assert row[title]["n"] == among
            else:
                assert row[title] is None


def test_a_refused_answer_counts_by_its_likeliest_class():
    answers = [answer("cat"), answer("cat", unknown=True)]
    report = measure(Classify(CLASSES), answers, ["cat", "cat"], None)
    assert report["scores"]["accuracy_score"]["value"] == 1


def test_the_commonest_class_is_what_must_be_beaten():
    report = measure(Classify(CLASSES), [answer("cat")] * 4, ["cat", "owl", "owl", "owl"], None)
    assert report["majority_share"] == 0.75


def test_mistakes_begin_with_the_surest():
    answers = [answer("cat", 0.5), answer("cat", 0.9), answer("dog", 0.7)]
    report = measure(Classify(CLASSES), answers, ["owl", "dog", "dog"], None)
    told = [(m["said"], m["label"], m["probability"]) for m in report["mistakes"]]
    assert told == [("cat", "dog", pytest.approx(0.9)), ("cat", "owl", pytest.approx(0.5))]


def test_mistakes_are_so_many_and_no_more():
    n = WORST + 5
    report = measure(Classify(CLASSES), [answer("cat")] * n, ["dog"] * n, None)
    assert len(report["mistakes"]) == WORST
    assert report["confusion"] == [[0, 0, 0], [n, 0, 0], [0, 0, 0]]


def test_groups_make_the_interval_one_over_groups():
    answers = [answer("cat")] * 6 + [answer("dog")] * 6
    labels = ["cat"] * 6 + ["cat"] * 3 + ["dog"] * 3
    groups = [i // 3 for i in range(12)]
    score = measure(Classify(CLASSES), answers, labels, groups)["scores"]["accuracy_score"]
    assert (score["n"], score["method"]) == (4, "bootstrap over 4 groups")
    assert score["value"] == pytest.approx(0.75)


def test_everything_measured_is_plain_and_has_an_interval():
    report = measure(Classify(CLASSES), [answer("cat")] * 3, ["cat"] * 3, None)
    for score in report["scores"].values():
        assert score["low"] <= score["value"] + 1e-9
        assert isinstance(score["value"], float)


def test_labels_and_strings_have_details_of_their_own():
    answers = [
        Answer("1", "a", {"a": 0.9, "b": 0.1}, ""),
        Answer("2", "-", {"b": 0.2, "a": 0.1}, ""),
    ]
    told = measure(Tag(("a", "b")), answers, ["a", "b"], None)
    assert [row["label"] for row in told["labels"]] == ["a", "b"]
    assert [row["path"] for row in told["mistakes"]] == ["2"]
    assert "reliability" not in told
    written = [Answer("1", "AB", {"AB": 0.9}, ""), Answer("2", None, {}, "", error="empty")]
    told = measure(Translate(("A", "B")), written, ["AB", "A"], None)
    assert told["scores"]["exact_match_score"]["value"] == 0.5
    assert [row["path"] for row in told["examples"]] == ["2", "1"]


@pytest.mark.parametrize("task", [Classify(CLASSES), Tag(CLASSES), Translate(("A",))])
def test_without_answers_there_are_no_scores(task):
    assert measure(task, [], [], None)["scores"] == {}
