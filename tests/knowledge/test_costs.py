"""Least expected cost against a sum over all answers, and what a file says of costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kenspeckle.knowledge.costs import cheapest, cost_matrix
from kenspeckle.knowledge.rules import Rules

TEXT = """classes: {tissue: [healthy, tumour], blurred: }
costs:
  - {truth: tumour, answered: healthy, cost: 50}
  - {truth: blurred, answered: tissue, cost: 4}
  - {answered: unsure, cost: 3}
"""


def matrix(text=TEXT):
    rules = Rules.parse(text)
    return cost_matrix(rules.costs, len(rules.leaves))


def test_what_the_file_says_and_what_it_does_not():
    assert matrix().tolist() == [[0, 1, 1, 3], [50, 0, 1, 3], [4, 4, 0, 3]]
    assert matrix("classes: [a, b]").tolist() == [[0, 1, math.inf], [1, 0, math.inf]]


def test_a_group_is_never_charged_for_being_right():
    text = "classes: {g: [a, b], c: }\ncosts: [{truth: g, answered: g, cost: 9}]"
    assert matrix(text)[:2, :2].tolist() == [[0, 9], [9, 0]]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_least_of_all(seed):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(5))
    costs = np.concatenate([random.uniform(0, 9, (5, 5)), random.uniform(0, 3, (5, 1))], 1)
    by_hand = [sum(p[t] * costs[t, a] for t in range(5)) for a in range(6)]
    decision = cheapest(p, costs)
    assert decision.cost == pytest.approx(min(by_hand))
    assert (5 if decision.leaf is None else decision.leaf) == int(np.argmin(by_hand))
    assert decision.of_likeliest == pytest.approx(by_hand[int(p.argmax())])


def test_a_person_is_asked_where_that_is_cheaper_than_any_answer():
    assert cheapest(np.array([0.93, 0.07, 0.0]), matrix()).leaf == 1
    assert cheapest(np.array([0.5, 0.5, 0.0]), matrix()).leaf == 1
    assert cheapest(np.array([0.9, 0.0, 0.1]), matrix()).leaf == 0
    mistakes = matrix(TEXT.replace("cost: 3}", "cost: 0.2}"))
    assert cheapest(np.array([0.5, 0.5, 0.0]), mistakes).leaf is None


def test_what_the_rules_exclude_is_not_answered_however_cheap():
    assert cheapest(np.array([0.0, 1.0, 0.0]), np.array([[0, 0, 0, 9.0]] * 3)).leaf == 1
