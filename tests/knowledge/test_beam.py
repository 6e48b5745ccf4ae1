"""The beam over permitted strings against all of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from kenspeckle.knowledge.automaton import from_pattern
from kenspeckle.knowledge.beam import likeliest
from kenspeckle.knowledge.check_digits import checked

SYMBOLS = "01234"


def chain(seed):
    """Log p of what comes next, by the symbol before: (K, U) -> (K, symbols + 1)."""
    random = np.random.default_rng(seed)
    table = torch.from_numpy(random.normal(0, 2, (len(SYMBOLS) + 1, len(SYMBOLS) + 1)))

    def step(written):
        last = written[:, -1] if written.shape[1] else torch.full((len(written),), len(SYMBOLS))
        return table.log_softmax(1)[last]

    return step


def score(step, string):
    rows = [
        step(torch.tensor([string[:at]]).long().view(1, at))[0] for at in range(len(string) + 1)
    ]
    return sum(float(row[s]) for row, s in zip(rows, [*string, len(SYMBOLS)], strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_all_permitted_strings_in_order(seed):
    step = chain(seed)
    automaton = from_pattern("0?[1-4]{1,3}", SYMBOLS)
    found = likeliest(step, automaton, longest=3, width=1000)
    strings = [s for n in range(4) for s in product(range(5), repeat=n)]
    wanted = {s: score(step, s) for s in strings if automaton.accepts(SYMBOLS[i] for i in s)}
    assert all(p == pytest.approx(wanted[s], abs=1e-4) for s, p in found)
    best = max(wanted.values())
    assert {s for s, p in wanted.items() if p > best - 10} <= {s for s, _ in found}
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


@pytest.mark.parametrize("width", [1, 3])
def test_a_narrow_beam_says_only_what_is_permitted(width):
    automaton = checked(from_pattern("[0-9]{6}", "0123456789"), "luhn")
    table = torch.randn(11, generator=torch.Generator().manual_seed(0)).double().log_softmax(0)
    found = likeliest(lambda written: table.expand(len(written), 11), automaton, 6, width)
    assert found
    assert all(automaton.accepts("".join(map(str, said))) for said, _ in found)


def test_where_no_permitted_string_is_short_enough_nothing_is_found():
    assert likeliest(chain(0), from_pattern("0{4}", SYMBOLS), longest=3) == []
