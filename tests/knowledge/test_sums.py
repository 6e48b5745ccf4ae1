"""Sums of readings agree with adding up every combination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.knowledge.scan import NEVER
from kenspeckle.knowledge.sums import best_digits, best_of_total, log_p_sum, log_sum_of_total

seeds = st.integers(0, 2**31)


def some_log_p(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 3, shape)).log_softmax(-1).float()


def combinations(choices, row: int, total: int):
    """log p in float64 and values of every combination with that total, likeliest first."""
    found = []
    for values in itertools.product(*(range(x.shape[1]) for x in choices)):
        if sum(values) == total:
            p = sum(float(x[row, v]) for x, v in zip(choices, values, strict=True))
            found.append((p, list(values)))
    return sorted(found, reverse=True)


def as_number(digits) -> int:
    return int("".join(str(int(d)) for d in digits))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), seeds)
@settings(max_examples=40, deadline=None)
def test_single_choices_agree_with_every_combination(sizes, seed):
    choices = [some_log_p(seed + place, 3, size) for place, size in enumerate(sizes)]
    total = torch.tensor([0, sum(sizes) - len(sizes), sum(sizes) // 2])
    together, (values, scores) = log_sum_of_total(choices, total), best_of_total(choices, total)
    for row, wanted in enumerate(total.tolist()):
        found = combinations(choices, row, wanted)
        if not found:
            assert together[row] == scores[row] == NEVER
            assert (values[row] == -1).all()
            continue
        expected = np.logaddexp.reduce([p for p, _ in found])
        assert float(together[row]) == pytest.approx(expected, abs=1e-4)
        assert float(scores[row]) == pytest.approx(found[0][0], abs=1e-4)
        assert values[row].tolist() == found[0][1]


@pytest.mark.parametrize("places", [1, 2])
def test_numbers_agree_with_every_pair_of_numbers(places):
    a, b = some_log_p(1, 4, places, 10), some_log_p(2, 4, places, 10)
    for wanted in range(2 * 10**places + 3):
        total = torch.full((4,), wanted)
        together, (first, second, scores) = log_p_sum(a, b, total), best_digits(a, b, total)
        for row in range(4):
            pairs = []
            for left in range(max(0, wanted - 10**places + 1), min(wanted, 10**places - 1) + 1):
                texts = f"{left:0{places}d}", f"{wanted - left:0{places}d}"
                p = sum(
                    float(x[row, place, int(digit)])
                    for x, text in zip((a, b), texts, strict=True)
                    for place, digit in enumerate(text)
                )
                pairs.append((p, left))
            if not pairs:
                assert together[row] == scores[row] == NEVER
                assert (first[row] == -1).all()
                continue
            expected = np.logaddexp.reduce([p for p, _ in pairs])
            assert float(together[row]) == pytest.approx(expected, abs=1e-4)
            assert float(scores[row]) == pytest.approx(max(pairs)[0], abs=1e-4)
            assert as_number(first[row]) == max(pairs)[1]
            assert as_number(first[row]) + as_number(second[row]) == wanted


def test_one_digit_each_is_the_same_by_carry_and_by_convolution():
    a, b, total = some_log_p(3, 40, 1, 10), some_log_p(4, 40, 1, 10), torch.arange(40) % 19
    by_carry, by_convolution = log_p_sum(a, b, total), log_sum_of_total([a[:, 0], b[:, 0]], total)
    assert torch.allclose(by_carry, by_convolution, atol=1e-5)


@pytest.mark.parametrize("places", [4, 17])
def test_all_totals_of_long_numbers_are_reached(places):
    digits = torch.randint(0, 10, (2, 30, places))
    a, b = (torch.full((30, places, 10), NEVER).scatter(2, d[..., None], 0) for d in digits)
    total = torch.tensor([as_number(x) + as_number(y) for x, y in zip(*digits, strict=True)])
    assert torch.equal(log_p_sum(a, b, total), torch.zeros(30))
    assert (log_p_sum(a, b, total + 1) < -1e29).all()
    first, second, _ = best_digits(a, b, total)
    assert torch.equal(torch.stack([first, second]), digits)


def test_sums_of_all_totals_are_one():
    a, b = (some_log_p(seed, 1, 3, 10).expand(2000, 3, 10) for seed in (5, 6))
    assert float(log_p_sum(a, b, torch.arange(2000)).logsumexp(0)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("wanted", [-1, 200, 10**18])
def test_a_total_out_of_reach_has_no_gradient(wanted):
    a, b = (some_log_p(seed, 1, 2, 10).requires_grad_() for seed in (7, 8))
    total = torch.tensor([wanted])
    together = log_p_sum(a, b, total) + log_sum_of_total([a[:, 0], b[:, 0]], total)
    assert together < -1e29
    together.sum().backward()
    assert (a.grad == 0).all()
    assert (b.grad == 0).all()


def test_the_gradient_is_the_share_of_each_digit():
    a, b = (some_log_p(seed, 1, 1, 10).double().requires_grad_() for seed in (9, 10))
    log_p_sum(a, b, torch.tensor([5])).sum().backward()
    pairs = (a[0, 0, :6] + b[0, 0, :6].flip(0)).detach()
    assert torch.allclose(a.grad[0, 0, :6], pairs.softmax(0))
    assert torch.allclose(b.grad[0, 0, :6], pairs.softmax(0).flip(0))
    assert (a.grad[0, 0, 6:] == 0).all()


def test_gradients_of_many_choices_and_digits_are_right():
    choices = [some_log_p(seed, 3, 4).double().requires_grad_() for seed in range(3)]
    total = torch.tensor([2, 5, 9])
    assert torch.autograd.gradcheck(lambda *x: log_sum_of_total(x, total), choices)
    a, b = (some_log_p(seed, 3, 2, 10).double().requires_grad_() for seed in (1, 2))
    total = torch.tensor([7, 103, 198])
    assert torch.autograd.gradcheck(lambda *x: log_p_sum(*x, total), (a, b))


def test_digits_learn_from_sums_alone():
    torch.manual_seed(0)
    digits = torch.randint(0, 10, (2, 2000))
    total = digits.sum(0)
    logits = (0.1 * torch.randn(10, 10)).requires_grad_()  # what a picture of each digit is called
    optimiser = torch.optim.Adam([logits], 0.1)
    for step in range(150):
        some = torch.arange(2000).roll(-step * 50)[:100]
        a, b = (logits.log_softmax(1)[digits[k, some]][:, None] for k in (0, 1))
        loss = -log_p_sum(a, b, total[some]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(logits.argmax(1), torch.arange(10))
    assert loss < 0.1
