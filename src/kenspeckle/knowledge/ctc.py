"""Exact sums over all ways in which the columns of a line can say the strings of an automaton.

A reader tells each column one symbol or the blank; a way is such a row, and what it says is the row
with repeats joined and blanks left out (CTC). A symbol again without a blank between is the same
symbol still, so beside the automaton's state it is remembered what the last column said.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.knowledge.automaton import REFUSED, Automaton
from kenspeckle.knowledge.scan import (
    IMPOSSIBLE,
    NEVER,
    NUMBERS,
    Step,
    lasting,
    padded,
    pick_rows,
    usable,
)


def ctc_log_sum(log_p: Tensor, lengths: Tensor, automaton: Automaton) -> Tensor:
    """(B,) log p that a line says an accepted string: over all ways of all of them, differentiable.

    Exact, in float64 inside.

    Args:
        log_p: (B, T, S + 1), of each symbol of the alphabet, and last the blank, in each column.
        lengths: (B,) columns that count, 0..T.

    Returns:
        (B,); -1e30, without a gradient, where no accepted string can be said.

    Source: Graves et al. 2006, section 4.1, over the states of an automaton instead of the
    places of one string.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> even = torch.full((1, 2, 3), 1 / 3).log()  # a, b, blank
    >>> ctc_log_sum(even, torch.tensor([2]), from_pattern("a", "ab")).exp()  # aa, a-, -a of nine
    tensor([0.3333])
    """
    ways = _ways(automaton)
    given = usable(log_p, lengths, len(automaton.alphabet) + 1)
    letters = given.permute(1, 2, 0).contiguous().unbind()
    now = ways.at_start(given)
    total = NEVER + 0 * given.sum((1, 2))  # with a gradient of 0 where nothing else has one
    ends = set(lengths.tolist())
    rows = ways.ends.to(given.device)
    for t in range(max(ends, default=0) + 1):
        if t:
            now = ways.step.total(ways.sums(now), letters[t - 1])
        if t in ends and len(rows):
            total = torch.where(lengths == t, now.index_select(0, rows).logsumexp(0), total)
    return torch.where(total > IMPOSSIBLE, total, NEVER).to(log_p.dtype)


@torch.no_grad()
def ctc_best(log_p: Tensor, lengths: Tensor, automaton: Automaton) -> tuple[Tensor, Tensor]:
    """The accepted string of the likeliest single way: numbers of symbols (B, U), its log p (B,).

    The way is the likeliest of all, exactly, and log p of its string over all its ways is exact.
    That no other accepted string has more over all its ways is not promised: no fast way to find
    that one is known. The share of all accepted strings is log p less `ctc_log_sum`.

    Args:
        log_p, lengths: as in `ctc_log_sum`.

    Returns:
        U is that of the longest; a row's symbols end with -1. Where no accepted string can be said
        all are -1 and log p is -1e30; an accepted empty string is all -1 with its log p.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> columns = torch.tensor([[[0.6, 0.1, 0.3], [0.5, 0.1, 0.4], [0.4, 0.3, 0.3]]]).log()
    >>> symbols, log_p = ctc_best(columns, torch.tensor([3]), from_pattern("ab|ba", "ab"))
    >>> symbols, round(float(log_p.exp()), 3)  # aab 0.09, a-b 0.072, ab- 0.018, abb, -ab
    (tensor([[0, 1]]), 0.243)
    """
    ways = _ways(automaton)
    given = usable(log_p, lengths, len(automaton.alphabet) + 1)
    longest = int(lengths.max()) if len(lengths) else 0
    kept = (longest + 1) * (len(ways.inside) * 2 + ways.never + 1)
    parts = [
        _best(given[some], lengths[some], ways)
        for some in torch.arange(len(given)).split(max(1, NUMBERS // kept))
    ]
    said, possible = (torch.cat(found) for found in zip(*parts, strict=True))
    # Moved to the beginning of the row: a column that says nothing new is -1.
    order = (said < 0).to(torch.int8).argsort(dim=1, stable=True)
    amounts = (said >= 0).sum(1)
    symbols = said.gather(1, order)[:, : int(amounts.max()) if len(amounts) else 0]
    exact = given.new_zeros(len(given))  # without a column nothing is said for certain
    if given.numel():
        exact = -F.ctc_loss(
            given.transpose(0, 1),
            symbols.clamp(min=0),
            lengths,
            amounts,
            blank=len(automaton.alphabet),
            reduction="none",
        )
    return symbols, exact.where(possible, NEVER).to(log_p.dtype)


def _best(given: Tensor, lengths: Tensor, ways: _Ways) -> tuple[Tensor, Tensor]:
    """(B, T) what each column says anew, -1 where nothing; and (B,) whether there is a way."""
    batch, count, _ = given.shape
    letters = given.permute(1, 2, 0).contiguous()
    now = ways.at_start(given)
    rows = ways.ends.to(given.device)
    scores = now[-1]
    came, row = [], torch.zeros(1, batch, dtype=torch.int64, device=given.device)
    begins = {}
    ends = set(lengths.tolist())
    for t in range(max(ends, default=0) + 1):
        if t:
            flat, first, second = ways.largest(now)
            now, origins = ways.step.largest(flat, letters[t - 1], 1, 1)
            came.append((first, second, origins))
        if t in ends and len(rows):
            found, place = now.index_select(0, rows).max(0)
            scores = torch.where(lengths == t, found, scores)
            begins[t] = rows[place][None]
    said = torch.full((count, batch), -1, device=given.device)
    for t in range(len(came), 0, -1):
        if t in begins:
            row = torch.where(lengths == t, begins[t], row)
        first, second, origins = came[t - 1]
        flat, symbol = ways.step.before(row, origins, 1, 1)
        before = ways.before(flat, first, second)
        is_new = (symbol < given.shape[2] - 1) & (before != row) & (lengths >= t)
        said[t - 1] = torch.where(is_new, symbol, -1)[0]
        row = before
    possible = scores > IMPOSSIBLE
    return said.where(possible, -1).T, possible


class _Ways:
    """Nodes: each state after a blank, then each state with the symbol that led to it.

    A node follows on itself, or on a state from which its symbol leads to it: on any node of that
    state, except the one that said the same symbol. So before each step the nodes of a state are
    summed: all of them, and all but each one.

    Attributes:
        inside: (states + 1, wide) the nodes of each state, that of the blank first; the last row is
            a state that is never reached.
        step: from nodes, sums, and sums without one, in rows one after the other, to nodes.
        ends: the nodes of accepting states.
        never: the number of nodes, and of one more that is never reached.
    """

    def __init__(self, automaton: Automaton) -> None:
        states, blank = len(automaton.table), len(automaton.alphabet)
        sources, symbols = (automaton.table != REFUSED).nonzero()
        targets = automaton.table[sources, symbols].astype(np.int64)
        pairs, nodes = np.unique(targets * blank + symbols, return_inverse=True)
        nodes = nodes.ravel() + states
        self.never = states + len(pairs)
        state = np.append(np.arange(states), pairs // blank)
        groups = [np.flatnonzero(state == q) for q in range(states)]
        self.inside = padded([*groups, np.zeros(0, np.int64)], self.never)
        wide = self.inside.shape[1]
        # The place among a state's nodes of the one that said the same symbol, if there is one.
        same = np.searchsorted(pairs, sources * blank + symbols).clip(max=len(pairs) - 1)
        repeats = pairs[same] == sources * blank + symbols
        first = np.searchsorted(pairs, sources * blank)  # of the state's own pairs
        sums = self.never + 1
        without = sums + states + 1
        rows = np.where(repeats, without + sources * wide + 1 + same - first, sums + sources)
        own = np.arange(states, self.never)
        self.step = Step.of(
            np.concatenate([sums + np.arange(states), own, rows]),
            np.concatenate([np.full(states, blank), pairs % blank, symbols]),
            np.concatenate([np.arange(states), own, nodes]),
            self.never,
            self.never,
        )
        self.ends = lasting(np.flatnonzero(automaton.accepting[state]))

    def at_start(self, like: Tensor) -> Tensor:
        """(nodes + 1, B): nothing said, in the state at the start."""
        now = like.new_full((self.never + 1, len(like)), NEVER)
        now[0] = 0
        return now

    def sums(self, now: Tensor) -> Tensor:
        """The nodes, the sum of each state's, and the sum of each state's without each one."""
        x = pick_rows(now, self.inside)
        top, place = x.max(1, keepdim=True)
        is_top = torch.zeros_like(x, dtype=torch.bool).scatter_(1, place, True)
        shares = (x - top).exp()
        total = shares.sum(1, keepdim=True)
        # Taking away the largest would leave no digits, so what is left of it is summed itself;
        # taking away another leaves at least the largest.
        others = x.masked_fill(is_top, NEVER).logsumexp(1, keepdim=True)
        rest = top + (total - shares).masked_fill(is_top, 1).log()
        without = torch.where(is_top, others, rest)
        return torch.cat([now, (top + total.log())[:, 0], without.flatten(0, 1)])

    def largest(self, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `sums`, the largest instead; and the places of the largest and the second."""
        x = pick_rows(now, self.inside)
        top, first = x.max(1, keepdim=True)
        next_best, second = x.scatter(1, first, 2 * NEVER).max(1, keepdim=True)
        without = top.expand_as(x).scatter(1, first, next_best)
        return torch.cat([now, top[:, 0], without.flatten(0, 1)]), first[:, 0], second[:, 0]

    def before(self, flat: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The node (1, B) that a row of what `largest` gives stands for."""
        states, wide = self.inside.shape
        inside = self.inside.to(flat.device)
        sums = self.never + 1
        is_node, is_sum = flat < sums, flat < sums + states
        left_out = (flat - sums - states).clamp(min=0)
        state = torch.where(is_sum, (flat - sums).clamp(min=0), left_out // wide)
        place = first.gather(0, state)
        other = ~is_sum & (place == left_out % wide)
        place = torch.where(other, second.gather(0, state), place)
        return torch.where(is_node, flat, inside[state, place])


@lru_cache(maxsize=64)
def _ways(automaton: Automaton) -> _Ways:
    return _Ways(automaton)
