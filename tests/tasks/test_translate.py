"""Strings into strings: edits, losses that do not see padding, scores with their meaning."""

from __future__ import annotations

import math
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import Text
from kenspeckle.data.strings import code_points, text_of
from kenspeckle.errors import DataError
from kenspeckle.models.seed_transformer import TokenEncoder
from kenspeckle.tasks.lines import edits
from kenspeckle.tasks.task import Choices
from kenspeckle.tasks.translate import Translate

PAIRS = (("ab", "BA"), ("abba", "ABBA"), ("b", "B"), ("bab", "A"))
words = st.text("abc", max_size=6)


@pytest.fixture(scope="module")
def task() -> Translate:
    samples = tuple(Sample(f"line {i}", Text(a), label=b) for i, (a, b) in enumerate(PAIRS))
    used = Dataset(None, samples, (), reads="pairs")  # type: ignore[arg-type]
    return Translate.for_data(used, range(len(samples)), Choices())


@pytest.fixture(scope="module")
def network(task):
    torch.manual_seed(0)
    return task.network(TokenEncoder(len(task.alphabet))).eval()


def slow_edits(one: str, other: str) -> int:
    @lru_cache(None)
    def between(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        changed = between(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(changed, between(i - 1, j) + 1, between(i, j - 1) + 1)

    return between(len(one), len(other))


@settings(max_examples=50, deadline=None)
@given(words, words)
def test_edits_are_those_of_the_plain_recursion(one, other):
    assert edits(one, other) == slow_edits(one, other) == edits(other, one)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9))
def test_text_survives_being_numbers(text):
    assert text_of(code_points([text])[0].tolist()) == text


def batch(task: Translate, pairs, weights=None) -> Batch:
    n = len(pairs)
    given_, wanted = code_points([a for a, _ in pairs]), task.collate([b for _, b in pairs])
    weights = torch.ones(n) if weights is None else torch.tensor(weights)
    return Batch(given_, wanted, weights, torch.arange(n))


def test_the_alphabets_are_the_learned_characters(task):
    assert task.alphabet == "ab"
    assert task.classes == ("A", "B")
    assert task.longest == 6  # a quarter longer than the longest, and one


def test_the_loss_does_not_see_padding(task, network):
    with torch.no_grad():
        together = float(task.loss(network, batch(task, PAIRS), "network"))
        alone = [float(task.loss(network, batch(task, [pair]), "network")) for pair in PAIRS]
    assert together == pytest.approx(sum(alone) / len(alone), rel=1e-5)


def test_a_weight_counts_a_string_several_times(task, network):
    with torch.no_grad():
        weighted = task.loss(network, batch(task, PAIRS[:2], [1.0, 2.0]), "network")
        repeated = task.loss(network, batch(task, [PAIRS[0], PAIRS[1], PAIRS[1]]), "network")
    assert float(weighted) == pytest.approx(float(repeated), rel=1e-5)


def test_an_answer_is_the_string_and_its_probability(task):
    steps = [[ord("A"), math.log(0.9)], [ord("B"), math.log(0.8)], [0, math.log(0.5)], [0, 0.0]]
    (answer,) = task.decode(torch.tensor([steps], dtype=torch.float64), ["line 1"])
    assert answer.label == "AB"
    assert answer.probability == pytest.approx(0.36)
    assert answer.words == "AB (36 %)"


def test_answers_are_no_longer_than_allowed(task, network):
    with torch.no_grad():
        told = task.decode(network(code_points(["ab", "abba"])), ["1", "2"])
    assert all(len(answer.label) <= task.longest + 1 for answer in told)


def answer(text: str | None) -> Answer:
    return Answer("x", text, {} if text is None else {text: 0.5}, "")


def test_scores_count_whole_strings_and_characters(task):
    told = [answer("2021"), answer("2022"), answer(None)]
    scores = task.score(told, ["2021", "2012", "1999"])
    assert scores["exact_match_score"].value == pytest.approx(1 / 3)
    assert scores["character_error"].value == pytest.approx((0 + 2 - 1 + 4) / 12)


def test_details_show_wrong_strings_first(task):
    rows = task.details([answer("a"), answer("b"), answer("c")], ["a", "x", "c"])["examples"]
    assert [(row["label"], row["said"]) for row in rows] == [("x", "b"), ("a", "a"), ("c", "c")]


def test_what_it_keeps_makes_it_again(task):
    again = Translate(task.classes, **task.kept())
    assert (again.alphabet, again.longest) == (task.alphabet, task.longest)


def test_a_pair_without_its_second_string_is_refused(task):
    with pytest.raises(DataError, match="second string"):
        task.collate(["A", None])
