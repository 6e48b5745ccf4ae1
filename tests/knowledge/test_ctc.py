"""Unaligned text under a rule agrees with trying every way, and with PyTorch for one string."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from kenspeckle.knowledge.automaton import Automaton, anything, from_pattern
from kenspeckle.knowledge.check_digits import checked
from kenspeckle.knowledge.ctc import ctc_best, ctc_log_sum
from kenspeckle.knowledge.scan import NEVER

DIGITS = "0123456789"
seeds = st.integers(0, 2**31)


def some_automaton(seed: int, states: int = 4, symbols: int = 2) -> Automaton:
    rng = np.random.default_rng(seed)
    table = rng.integers(-1, states, (states, symbols)).astype(np.int32)
    return Automaton(tuple("abc"[:symbols]), table, rng.random(states) < 0.4)


def some_log_p(seed: int, *shape: int, scale: float = 2) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, scale, shape)).log_softmax(-1).float()


def said(way, blank: int) -> tuple[int, ...]:
    """What a way says: repeats joined, blanks left out."""
    return tuple(s for s, _ in itertools.groupby(way) if s != blank)


def every_way(row: torch.Tensor, length: int, automaton: Automaton):
    """string -> log p in float64 of each way that says it, of accepted strings."""
    blank = len(automaton.alphabet)
    found: dict[tuple[int, ...], list[float]] = {}
    for way in itertools.product(range(blank + 1), repeat=length):
        text = said(way, blank)
        if automaton.accepts(automaton.alphabet[s] for s in text):
            p = sum(float(row[t, s]) for t, s in enumerate(way))
            found.setdefault(text, []).append(p)
    return found


def together(ways) -> float:
    return float(np.logaddexp.reduce(list(ways))) if ways else NEVER


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_sum_and_best_agree_with_trying_every_way(seed):
    automaton = some_automaton(seed)
    log_p, lengths = some_log_p(seed, 4, 6, 3), torch.tensor([6, 3, 0, 5])
    total = ctc_log_sum(log_p, lengths, automaton)
    symbols, scores = ctc_best(log_p, lengths, automaton)
    for row, length in enumerate(lengths.tolist()):
        found = every_way(log_p[row], length, automaton)
        expected = together([p for ways in found.values() for p in ways])
        assert float(total[row]) == pytest.approx(expected, rel=1e-6, abs=1e-4)
        text = tuple(s for s in symbols[row].tolist() if s >= 0)
        if not found:
            assert text == ()
            assert scores[row] == NEVER
        else:
            likeliest = max(max(ways) for ways in found.values())
            assert max(found[text]) == pytest.approx(likeliest, abs=1e-4)
            assert float(scores[row]) == pytest.approx(together(found[text]), abs=1e-4)
            assert (symbols[row, len(text) :] == -1).all()


@given(st.text("abc", max_size=5), seeds)
@settings(max_examples=30, deadline=None)
def test_for_one_string_it_is_pytorchs_ctc_with_its_gradient(text, seed):
    automaton = from_pattern(text, "abc")
    lengths = torch.tensor([12, 10, 11])
    ours = some_log_p(seed, 3, 12, 4, scale=5).requires_grad_()
    theirs = ours.detach().clone().double().requires_grad_()
    total = ctc_log_sum(ours, lengths, automaton)
    places = torch.tensor([["abc".index(c) for c in text]] * 3).long().reshape(3, -1)
    loss = F.ctc_loss(
        theirs.transpose(0, 1), places, lengths, torch.tensor([len(text)] * 3), 3, "none"
    )
    assert torch.allclose(total.double(), -loss, atol=1e-4)
    total.sum().backward()
    (-loss).sum().backward()
    # PyTorch's gradient is that of logits: p less by what a softmax before it takes off.
    inside = (torch.arange(12) < lengths[:, None])[..., None]
    assert torch.allclose(ours.grad.sum(2), inside[..., 0].float(), atol=1e-4)
    logits = ours.detach().exp() * inside
    assert torch.allclose(ours.grad - logits, theirs.grad.float(), atol=1e-4)


def test_a_line_too_short_for_any_string_has_no_way():
    automaton = from_pattern("aaa", "ab")  # five columns: a blank between two alike
    log_p = some_log_p(0, 2, 5, 3).requires_grad_()
    lengths = torch.tensor([4, 5])
    total = ctc_log_sum(log_p, lengths, automaton)
    only = log_p[1, [0, 1, 2, 3, 4], [0, 2, 0, 2, 0]]
    assert total[0] == NEVER
    assert total[1].item() == pytest.approx(only.sum().item())
    total.sum().backward()
    assert (log_p.grad[0] == 0).all()
    symbols, scores = ctc_best(log_p.detach(), lengths, automaton)
    assert symbols.tolist() == [[-1, -1, -1], [0, 0, 0]]
    assert scores[0] == NEVER


def test_without_a_rule_all_ways_together_are_certain():
    log_p = some_log_p(1, 5, 9, 4)
    total = ctc_log_sum(log_p, torch.tensor([9, 0, 3, 5, 8]), anything("abc"))
    assert torch.allclose(total, torch.zeros(5), atol=1e-5)


def test_without_a_rule_the_best_way_is_each_columns_best():
    log_p = some_log_p(2, 5, 9, 4)
    symbols, _ = ctc_best(log_p, torch.full((5,), 9), anything("abc"))
    for row, way in zip(symbols.tolist(), log_p.argmax(2).tolist(), strict=True):
        assert tuple(s for s in row if s >= 0) == said(way, 3)


@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_a_network_that_is_sure_of_something_else_still_has_a_right_string_and_gradient(scale):
    luhn = checked(from_pattern("[0-9]{4}", DIGITS), "luhn")
    log_p = some_log_p(3, 20, 12, 11, scale=scale).requires_grad_()
    lengths = torch.full((20,), 12)
    total = ctc_log_sum(log_p, lengths, luhn)
    total.sum().backward()
    assert torch.allclose(log_p.grad.sum(2), torch.ones(20, 12), atol=1e-4)
    assert (log_p.grad > -1e-6).all()
    symbols, scores = ctc_best(log_p.detach(), lengths, luhn)
    assert all(luhn.accepts(DIGITS[s] for s in row) for row in symbols.tolist())
    assert (scores <= total + 1e-3 * scale).all()


def test_repeats_of_one_symbol_into_one_state_from_several():
    automaton = from_pattern("(a|b)(a|b)a|bba", "ab")
    log_p = some_log_p(4, 3, 6, 3)
    total = ctc_log_sum(log_p, torch.full((3,), 6), automaton)
    for row in range(3):
        ways = every_way(log_p[row], 6, automaton)
        assert float(total[row]) == pytest.approx(
            together(list(itertools.chain(*ways.values()))), abs=1e-4
        )


def test_masked_columns_are_observed():
    plate = from_pattern("[ab]c", "abc")
    log_p = some_log_p(5, 1, 5, 4)
    log_p[0, 1] = torch.tensor([NEVER, 0.0, NEVER, NEVER])  # the second column says b
    symbols, _ = ctc_best(log_p, torch.tensor([5]), plate)
    assert symbols.tolist() == [[1, 2]]
    assert float(ctc_log_sum(log_p, torch.tensor([5]), plate)) > -50


def test_what_was_scanned_in_inference_can_be_learned_through_later():
    rule = from_pattern("ab?", "ab")
    log_p, lengths = some_log_p(6, 1, 4, 3), torch.tensor([4])
    with torch.inference_mode():
        ctc_best(log_p, lengths, rule)
    log_p.requires_grad_()
    ctc_log_sum(log_p, lengths, rule).sum().backward()
    assert log_p.grad.sum() == pytest.approx(4, abs=1e-5)


def test_large_batches_are_taken_in_parts(monkeypatch):
    luhn = checked(from_pattern("[0-9]{3}", DIGITS), "luhn")
    log_p, lengths = some_log_p(7, 20, 9, 11), torch.full((20,), 9)
    whole = ctc_best(log_p, lengths, luhn)
    monkeypatch.setattr("kenspeckle.knowledge.ctc.NUMBERS", 10_000)
    parts = ctc_best(log_p, lengths, luhn)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


def test_an_empty_batch_has_no_answers():
    none = torch.zeros(0, dtype=torch.long)
    symbols, scores = ctc_best(torch.zeros(0, 4, 3), none, anything("ab"))
    assert (
        len(symbols) == len(scores) == len(ctc_log_sum(torch.zeros(0, 4, 3), none, anything("ab")))
    )
