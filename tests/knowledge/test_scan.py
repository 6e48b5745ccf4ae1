"""Scans agree with trying every string, in float64, whatever is masked and however long it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.knowledge.automaton import Automaton, anything, from_pattern
from kenspeckle.knowledge.check_digits import checked
from kenspeckle.knowledge.scan import NEVER, best, grouped, k_best, log_sum, marginals

DIGITS = "0123456789"
seeds = st.integers(0, 2**31)


def some_automaton(seed: int, states: int = 5, symbols: int = 3) -> Automaton:
    """Any table, with arrows missing, states unreachable and sometimes nothing accepted."""
    rng = np.random.default_rng(seed)
    table = rng.integers(-1, states, (states, symbols)).astype(np.int32)
    return Automaton(tuple("abcdef"[:symbols]), table, rng.random(states) < 0.4)


def some_log_p(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 3, shape)).log_softmax(-1).float()


def every_string(row: torch.Tensor, length: int, automaton: Automaton):
    """log p in float64 and symbols of each accepted string, likeliest first."""
    found = []
    for symbols in itertools.product(range(len(automaton.alphabet)), repeat=length):
        if automaton.accepts(automaton.alphabet[s] for s in symbols):
            found.append((sum(float(row[t, s]) for t, s in enumerate(symbols)), symbols))
    return sorted(found, reverse=True)


def summed(found) -> float:
    return float(np.logaddexp.reduce([p for p, _ in found])) if found else NEVER


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_everything_agrees_with_trying_every_string(seed):
    automaton, k = some_automaton(seed), 4
    log_p = some_log_p(seed, 4, 5, 3)
    lengths = torch.tensor([5, 3, 0, 4])
    total, (symbols, scores) = (
        log_sum(log_p, lengths, automaton),
        k_best(log_p, lengths, automaton, k),
    )
    for row, length in enumerate(lengths.tolist()):
        found = every_string(log_p[row], length, automaton)
        assert float(total[row]) == pytest.approx(summed(found), rel=1e-6, abs=1e-4)
        expected = [p for p, _ in found][:k]
        assert scores[row, : len(expected)].tolist() == pytest.approx(expected, abs=1e-4)
        assert (scores[row, len(expected) :] == NEVER).all()
        told = [tuple(s[:length]) for s in symbols[row].tolist()][: len(expected)]
        assert len(set(told)) == len(told)
        for one, p in zip(told, expected, strict=True):
            assert automaton.accepts(automaton.alphabet[s] for s in one)
            said = sum(float(log_p[row, t, s]) for t, s in enumerate(one))
            assert said == pytest.approx(p, abs=1e-4)
        assert (symbols[row, : len(expected), length:] == -1).all()
        assert (symbols[row, len(expected) :] == -1).all()


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_marginals_are_the_gradient_of_the_sum(seed):
    automaton = some_automaton(seed)
    log_p, lengths = some_log_p(seed, 2, 4, 3), torch.tensor([4, 3])
    given_p = log_p.clone().requires_grad_()
    log_sum(given_p, lengths, automaton).sum().backward()
    expected = torch.zeros(2, 4, 3, dtype=torch.float64)
    for row, length in enumerate(lengths.tolist()):
        found = every_string(log_p[row], length, automaton)
        for p, symbols in found:
            for t, symbol in enumerate(symbols):
                expected[row, t, symbol] += np.exp(p - summed(found))
    assert torch.allclose(given_p.grad.double(), expected, atol=1e-4)
    assert torch.equal(marginals(log_p, lengths, automaton), given_p.grad)


@pytest.mark.parametrize("mask", [NEVER, -float("inf")])
def test_a_masked_symbol_is_in_no_string(mask):
    plate = from_pattern("[ab]{2}c", "abc")
    log_p = some_log_p(0, 1, 3, 3).requires_grad_()
    seen = torch.tensor([[[False, True, False], [True, True, True], [True, True, True]]])
    masked = log_p.masked_fill(~seen, mask)
    total = log_sum(masked, torch.tensor([3]), plate)
    found = [(p, s) for p, s in every_string(log_p.detach()[0], 3, plate) if s[0] == 1]
    assert total.item() == pytest.approx(summed(found), rel=1e-6, abs=1e-4)
    total.sum().backward()
    assert log_p.grad.isfinite().all()
    assert best(masked, torch.tensor([3]), plate)[0][0, 0] == 1


def test_where_no_string_is_left_nothing_is_learned_and_nothing_said():
    plate = from_pattern("[ab]{2}", "abc")
    log_p = some_log_p(0, 3, 3, 3)
    log_p[1, 0, :2] = NEVER
    log_p.requires_grad_()
    lengths = torch.tensor([3, 2, 2])
    total = log_sum(log_p, lengths, plate)
    assert total[:2].tolist() == [NEVER, NEVER] or (total[:2] < -1e29).all()
    total.sum().backward()
    assert (log_p.grad[:2] == 0).all()
    assert log_p.grad[2].sum() == pytest.approx(2, abs=1e-5)
    symbols, scores = best(log_p.detach(), lengths, plate)
    assert (symbols[:2] == -1).all()
    assert (scores[:2] < -1e29).all()
    assert (symbols[2, :2] >= 0).all()


def test_without_a_rule_the_sum_is_one_and_the_best_is_each_steps_best():
    log_p, lengths = some_log_p(1, 6, 9, 5), torch.tensor([9, 0, 3, 9, 1, 8])
    free = anything("abcde")
    assert torch.allclose(log_sum(log_p, lengths, free), torch.zeros(6), atol=1e-5)
    inside = torch.arange(9) < lengths[:, None]
    assert torch.equal(best(log_p, lengths, free)[0], log_p.argmax(2).where(inside, -1))


@pytest.mark.parametrize("digits", [8, 16])
def test_a_network_that_always_breaks_the_rule_is_corrected(digits):
    luhn = checked(from_pattern(f"[0-9]{{{digits}}}", DIGITS), "luhn")
    log_p = some_log_p(2, 500, digits, 10) * 20
    symbols, scores = best(log_p, torch.full((500,), digits), luhn)
    assert all(luhn.accepts(DIGITS[s] for s in row) for row in symbols.tolist())
    assert torch.allclose(scores, log_p.gather(2, symbols[..., None]).sum((1, 2)), rtol=1e-5)


def test_letters_of_many_symbols_are_told_apart_again():
    plate = from_pattern("[a-h]{2}[i-p]{2}", "abcdefghijklmnop")
    log_p, lengths = some_log_p(3, 2, 4, 16), torch.tensor([4, 4])
    symbols, scores = k_best(log_p, lengths, plate, 20)
    left, right = log_p[:, :2, :8], log_p[:, 2:, 8:]
    halves = [(h[:, 0, :, None] + h[:, 1, None]).flatten(1) for h in (left, right)]
    everything = (halves[0][:, :, None] + halves[1][:, None]).flatten(1)
    assert torch.allclose(scores, everything.topk(20, 1)[0], atol=1e-4)
    assert len({tuple(row) for row in symbols[0].tolist()}) == 20


def test_a_state_with_far_more_arrows_than_others_is_summed_in_parts():
    # 199 ways out of the start; each can wait, by the last symbol, or go to the one end
    chosen = np.random.default_rng(0).permutation(199)
    table = np.full((201, 200), -1, np.int32)
    table[0, :199] = np.arange(2, 201)
    table[np.arange(2, 201), chosen] = 1
    table[2:, 199] = np.arange(2, 201)
    automaton = Automaton(tuple(f"s{i}" for i in range(200)), table, np.arange(201) == 1)
    log_p = some_log_p(4, 3, 2, 200)
    lengths = torch.tensor([2, 2, 2])
    pairs = log_p[:, 0, :199] + log_p[:, 1, torch.from_numpy(chosen)]
    assert torch.allclose(log_sum(log_p, lengths, automaton), pairs.logsumexp(1), atol=1e-4)
    for k in (1, 3):
        symbols, scores = k_best(log_p, lengths, automaton, k)
        expected, place = pairs.topk(k, 1)
        assert torch.allclose(scores, expected, atol=1e-4)
        assert torch.equal(symbols[:, :, 0], place)


@given(st.lists(st.integers(0, 6), max_size=200), seeds)
@settings(max_examples=30, deadline=None)
def test_grouped_tables_bring_equal_targets_together(targets, seed):
    numbers = np.array(targets, np.int64)
    values = np.random.default_rng(seed).integers(0, 100, len(targets))
    x = values
    for table in grouped(numbers, 7):
        x = np.append(x, 0)[table].sum(1)
    assert x[:-1].tolist() == [int(values[numbers == t].sum()) for t in range(7)]
    assert x[-1] == 0


def test_two_thousand_steps_are_summed_to_the_last_digits():
    stay = from_pattern("a+b+c+", "abc")
    log_p = some_log_p(5, 2, 2000, 3)
    total = log_sum(log_p, torch.tensor([2000, 1999]), stay)
    rows = log_p[0].double().cumsum(0)
    a, b, c = rows.T
    # p(first b at i, first c at j), summed over i < j
    begins = np.logaddexp.accumulate((a[:-1] - b[:-1]).numpy())[:-1]
    inside = begins + (b[1:-1] - c[1:-1]).numpy()
    expected = float(np.logaddexp.reduce(inside)) + float(c[-1])
    assert float(total[0]) == pytest.approx(expected, rel=1e-6)


def test_a_scan_of_inference_can_be_learned_through_later():
    rule = from_pattern("a?b+", "ab")
    log_p, lengths = some_log_p(6, 1, 3, 2), torch.tensor([3])
    with torch.inference_mode():
        said = best(log_p, lengths, rule)[0]
        told = marginals(log_p.clone(), lengths.clone(), rule)
    log_p.requires_grad_()
    log_sum(log_p, lengths, rule).backward(torch.ones(1))
    assert torch.equal(log_p.grad, told)
    assert said.shape == (1, 3)


def test_large_batches_are_taken_in_parts(monkeypatch):
    luhn = checked(from_pattern("[0-9]{4}", DIGITS), "luhn")
    log_p, lengths = some_log_p(7, 20, 4, 10), torch.full((20,), 4)
    whole = k_best(log_p, lengths, luhn, 2)
    monkeypatch.setattr("kenspeckle.knowledge.scan.NUMBERS", 300)
    parts = k_best(log_p, lengths, luhn, 2)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


def test_an_empty_batch_has_no_answers():
    symbols, scores = best(torch.zeros(0, 4, 2), torch.zeros(0, dtype=torch.long), anything("ab"))
    assert symbols.shape == (0, 4)
    assert scores.shape == (0,)
