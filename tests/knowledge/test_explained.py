"""Why an answer is what it is: known values, in words and as plain values."""

from __future__ import annotations

import json
import math

import pytest
import torch

from kenspeckle.knowledge.rules import Rules

TEXT = """classes: [cat, car]
tags: [night, headlights on]
rules:
  - never: cat and night
  - {if: night and car, then: headlights on, strength: 2}
"""


@pytest.fixture
def compiled():
    return Rules.parse(TEXT).compile()


def test_the_rules_that_changed_an_answer_are_named_with_their_line_and_price(compiled):
    told = compiled.explain(torch.tensor([1.0, 0.0, 5.0, -3.0]))
    assert told.own == {"class": "cat"}
    assert told.answer == {
        "class": "car",
        "night": "yes",
    }
    assert told.price == pytest.approx(1.0)
    assert [(rule.name, rule.line) for rule in told.rules] == [("L4", 4)]
    assert told.rules[0].without == {"class": "cat"}


def test_probabilities_are_those_of_the_worlds(compiled):
    told = compiled.explain(torch.zeros(4))
    # 8 worlds of 1/8 each; two are never so, one is a factor e^-2 rarer
    assert told.permitted == pytest.approx(6 / 8, abs=1e-5)
    assert told.probability == pytest.approx(1 / (5 + math.exp(-2)), abs=1e-5)


def test_an_answer_that_no_rule_touched_says_so_by_saying_nothing(compiled):
    told = compiled.explain(torch.tensor([4.0, 0.0, -4.0, -4.0]))
    assert told.own == {}
    assert told.rules == ()
    assert told.price == 0
    assert [line.split()[0] for line in told.lines()] == ["answer", "next", "by"]


def test_it_reads_as_text_and_as_json(compiled):
    told = compiled.explain(torch.tensor([1.0, 0.0, 5.0, -3.0]))
    lines = told.lines()
    assert lines[0].startswith("answer  car, night (")
    assert lines[1] == "alone   the network would say cat"
    assert lines[2] == "rule    L4 never cat and night (rules.yaml:4)"
    assert lines[3] == "        without it: cat"
    assert lines[4] == "price   1.00 nats less likely to the network than its own"
    assert json.loads(json.dumps(told.as_dict()))["rules"][0]["name"] == "L4"


def test_a_network_that_believes_in_nothing_permitted_is_told(compiled):
    told = compiled.explain(torch.tensor([9.0, -9.0, 9.0, 0.0]))
    assert any(line.startswith("beware  the network puts 0.1 %") for line in told.lines())
