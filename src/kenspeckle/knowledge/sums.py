"""Readings of which only the sum is known: exact sums and the likeliest readings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.knowledge.scan import IMPOSSIBLE, NEVER

LONGEST = 17  # digits of a number; a sum of two of them still fits 64 bits


def log_sum_of_total(log_p: Sequence[Tensor], total: Tensor) -> Tensor:
    """(B,) log p that single choices add up to a total; its gradient are the marginals.

    Exact: all combinations, by convolution of logarithms, the last choice by looking up what is
    missing.

    Args:
        log_p: (B, n) of each choice; column v is the value v, -1e30 where a value does not exist.
        total: (B,) integers; one that cannot come about is -1e30, without a gradient.

    >>> dice = torch.full((1, 7), 1 / 6).log()
    >>> dice[:, 0] = NEVER
    >>> log_sum_of_total([dice, dice], torch.tensor([7])).exp()
    tensor([0.1667])
    """
    *first, last = [x.clamp(min=NEVER) for x in log_p]
    before = first[0] if first else _nothing(last)
    for x in first[1:]:
        before = _pairs(before, x).logsumexp(1)
    found = (_remaining(before, total, last.shape[1]) + last).logsumexp(1)
    return torch.where(found > IMPOSSIBLE, found, NEVER)


@torch.no_grad()
def best_of_total(log_p: Sequence[Tensor], total: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest values of single choices that add up to a total: (B, choices), log p (B,).

    Exact. Values are -1, and log p is -1e30, where the total cannot come about.

    >>> first, second = torch.tensor([[0.1, 0.9]]).log(), torch.tensor([[0.2, 0.8]]).log()
    >>> best_of_total([first, second], torch.tensor([1]))[0]  # not 1 and 1, the likeliest alone
    tensor([[1, 0]])
    """
    before = [_nothing(log_p[0])]
    for x in log_p[:-1]:
        before.append(_pairs(before[-1], x.clamp(min=NEVER)).amax(1))
    values, scores, missing = [], [], total
    for x, sums in zip(log_p[::-1], before[::-1], strict=True):
        score, value = (_remaining(sums, missing, x.shape[1]) + x.clamp(min=NEVER)).max(1)
        missing = missing - value
        values.append(value)
        scores.append(score)
    possible = scores[0] > IMPOSSIBLE
    told = torch.stack(values[::-1], 1).where(possible[:, None], -1)
    return told, scores[0].where(possible, NEVER)


def log_p_sum(digits_a: Tensor, digits_b: Tensor, total: Tensor) -> Tensor:
    """(B,) log p that two numbers add up to a total, from their digits; differentiable.

    Exact, in time linear in the digits: from the last digit on, all that matters of what was added
    is the carry.

    Args:
        digits_a, digits_b: (B, N, 10) log p of each digit, the most significant first; N up to 17.
        total: (B,) integers of up to N + 1 digits; others are -1e30, without a gradient.

    >>> sure = torch.full((1, 2, 10), NEVER)
    >>> sure[0, 0, 2] = sure[0, 1, 7] = 0  # 27
    >>> even = torch.full((1, 2, 10), 0.1).log()
    >>> log_p_sum(sure, even, torch.tensor([100])).exp()  # 73, one of a hundred
    tensor([0.0100])
    """
    columns, carry = _columns(digits_a, digits_b, total)
    steps = columns.logsumexp(4).unbind(1)  # (B, carry in, carry out) of each digit
    now = steps[-1][:, 0]
    for step in steps[-2::-1]:
        now = (now[:, :, None] + step).logsumexp(1)
    found = now.gather(1, carry.clamp(0, 1)[:, None])[:, 0]
    return torch.where((found > IMPOSSIBLE) & (carry >= 0) & (carry <= 1), found, NEVER)


@torch.no_grad()
def best_digits(digits_a: Tensor, digits_b: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest digits of two numbers that add up to a total: (B, N) each, and log p (B,).

    Exact. Digits are -1, and log p is -1e30, where the total cannot come about.

    Args:
        digits_a, digits_b, total: as in `log_p_sum`.

    >>> sure = torch.full((1, 2, 10), NEVER)
    >>> sure[0, 0, 2] = sure[0, 1, 7] = 0
    >>> best_digits(sure, torch.full((1, 2, 10), 0.1).log(), torch.tensor([100]))[:2]
    (tensor([[2, 7]]), tensor([[7, 3]]))
    """
    columns, carry = _columns(digits_a, digits_b, total)
    best, digit = columns.max(4)
    steps, now = best.unbind(1), torch.tensor([0.0, NEVER]).to(best).expand(len(best), 2)
    came = []
    for step in steps[::-1]:
        now, origin = (now[:, :, None] + step).max(1)
        came.append(origin)
    valid = (carry >= 0) & (carry <= 1)
    out = carry.clamp(0, 1)
    score = now.gather(1, out[:, None])[:, 0]
    rows = torch.arange(len(total), device=total.device)
    written = _digits(total, len(steps))
    a, b = [], []
    for place, origin in enumerate(came[::-1]):
        into = origin[rows, out]
        a.append(digit[rows, place, into, out])
        b.append(written[:, place] + 10 * out - into - a[-1])
        out = into
    possible = (score > IMPOSSIBLE) & valid
    first, second = (torch.stack(x, 1).where(possible[:, None], -1) for x in (a, b))
    return first, second, score.where(possible, NEVER)


def _nothing(like: Tensor) -> Tensor:
    """(B, 1): the sum of no choices is 0."""
    return like.new_zeros(len(like), 1)


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """(B, n, n + m - 1): log p of each value of the first with what makes each sum."""
    n, m = a.shape[1], b.shape[1]
    x = F.pad(a[:, :, None] + b[:, None], (0, n), value=NEVER)  # (B, n, m + n)
    # Rows are read one shorter than they are, so each begins one place further than the last.
    return x.flatten(1)[:, : n * (n + m - 1)].unflatten(1, (n, n + m - 1))


def _remaining(log_p: Tensor, total: Tensor, count: int) -> Tensor:
    """(B, count): log p of what is missing to the total beside each value 0..count - 1."""
    rest = total[:, None] - torch.arange(count, device=total.device)
    inside = (rest >= 0) & (rest < log_p.shape[1])
    return log_p.gather(1, rest.clamp(0, log_p.shape[1] - 1)).masked_fill(~inside, NEVER)


def _columns(digits_a: Tensor, digits_b: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, 2, 2, 10) log p of each first digit, by carry in and out; and the last carry (B,)."""
    places = digits_a.shape[1]
    assert digits_a.shape == digits_b.shape
    assert places <= LONGEST
    a, b = digits_a.clamp(min=NEVER), digits_b.clamp(min=NEVER)
    into, out = torch.arange(2)[:, None, None], torch.arange(2)[:, None]
    shift = (10 * out - into - torch.arange(10)).to(total.device)  # (2, 2, 10)
    needed = _digits(total, places)[..., None, None, None] + shift
    inside = (needed >= 0) & (needed <= 9)
    other = b.gather(2, needed.clamp(0, 9).flatten(2)).unflatten(2, (2, 2, 10))
    carry = torch.div(total, 10**places, rounding_mode="floor")
    return (a[:, :, None, None] + other).masked_fill(~inside, NEVER), carry


def _digits(total: Tensor, places: int) -> Tensor:
    """(B, places): the last digits of each total, the most significant first.

    >>> _digits(torch.tensor([1234, 5]), 3).tolist()
    [[2, 3, 4], [0, 0, 5]]
    """
    powers = torch.tensor([10**place for place in range(places - 1, -1, -1)], device=total.device)
    return torch.div(total[:, None], powers, rounding_mode="floor") % 10
