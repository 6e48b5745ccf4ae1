"""Exact sums and maxima over all strings of an automaton, with a probability for each symbol.

Everything is computed in float64 on logarithms, with states in rows and the batch in columns, so
that a step copies whole rows. Only states that some string reaches after so many steps take part,
and symbols that lead to the same state from everywhere are one letter: the cost of a step is the
arrows between states of two neighbouring steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.knowledge.automaton import REFUSED, Automaton

NEVER = -1e30  # the logarithm of an impossible probability
IMPOSSIBLE = NEVER / 2  # what is below has an impossible part
WIDEST = 8  # arrows into one state that are summed at once where others have far fewer
NUMBERS = 1 << 25  # origins kept at once on the way to a best string: 256 MB

Rows = NDArray[np.int64]


def log_sum(log_p: Tensor, lengths: Tensor, automaton: Automaton) -> Tensor:
    """(B,) log p of all accepted strings together; its gradient are the marginals.

    Of log p that sums to 1 it is log p(rule). Where some symbols are masked with -1e30 or -inf, it
    is log p(rule and what was observed). Exact, in float64 inside.

    Args:
        log_p: (B, T, S), of each symbol of the alphabet at each step.
        lengths: (B,) steps that count, 0..T.

    Returns:
        (B,); -1e30, without a gradient, where no accepted string has that length.

    Source: the forward algorithm, Baum 1972, over the states of an automaton.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> ab = from_pattern("a+b*", "ab")  # aa and ab, not ba and bb
    >>> log_sum(torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]).log(), torch.tensor([2]), ab).exp()
    tensor([0.2500])
    """
    layers = _layers(automaton)
    given = usable(log_p, lengths, len(automaton.alphabet))
    letters = _by_letter(given, layers.members)
    steps = letters.logsumexp(2).unbind() if letters.shape[2] > 1 else letters[:, :, 0].unbind()
    now = at_start(1, log_p)
    total = NEVER + 0 * given.sum((1, 2))  # with a gradient of 0 where nothing else has one
    ends = set(lengths.tolist())
    for t in range(max(ends, default=0) + 1):
        if t:
            now = layers.step(t - 1).total(now, steps[t - 1])
        if t in ends and len(rows := layers.ends(t).to(log_p.device)):
            total = torch.where(lengths == t, now.index_select(0, rows).logsumexp(0), total)
    return torch.where(total > IMPOSSIBLE, total, NEVER).to(log_p.dtype)


def marginals(log_p: Tensor, lengths: Tensor, automaton: Automaton) -> Tensor:
    """(B, T, S) p of each symbol at each step, given that the string is accepted.

    Past a length, and where no string is accepted, all are 0.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> even = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]).log()
    >>> marginals(even, torch.tensor([2]), from_pattern("a+b*", "ab"))
    tensor([[[1.0000, 0.0000],
             [0.5000, 0.5000]]])
    """
    with torch.inference_mode(False), torch.enable_grad():
        given = log_p.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(log_sum(given, lengths.clone(), automaton).sum(), given)
    return found


def best(log_p: Tensor, lengths: Tensor, automaton: Automaton) -> tuple[Tensor, Tensor]:
    """The likeliest accepted string of each row: numbers of symbols (B, T), and its log p (B,).

    Exact. Past a length symbols are -1; all are, and log p is -1e30, where no string is accepted.

    Source: Viterbi 1967.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> likely_ba = torch.tensor([[[0.25, 0.75], [0.6, 0.4]]]).log()
    >>> symbols, log_p = best(likely_ba, torch.tensor([2]), from_pattern("a+b*", "ab"))
    >>> symbols, log_p.exp()
    (tensor([[0, 0]]), tensor([0.1500]))
    """
    symbols, scores = k_best(log_p, lengths, automaton, 1)
    return symbols[:, 0], scores[:, 0]


@torch.no_grad()
def k_best(log_p: Tensor, lengths: Tensor, automaton: Automaton, k: int) -> tuple[Tensor, Tensor]:
    """The k likeliest accepted strings, the likeliest first: (B, k, T) and their log p (B, k).

    Exact; no string comes twice. Where there are fewer, symbols are -1 and log p is -1e30.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> likely_ba = torch.tensor([[[0.25, 0.75], [0.6, 0.4]]]).log()
    >>> symbols, log_p = k_best(likely_ba, torch.tensor([2]), from_pattern("a+b*", "ab"), 3)
    >>> symbols.tolist(), log_p[0, :2].exp()
    ([[[0, 0], [0, 1], [-1, -1]]], tensor([0.1500, 0.1000]))
    """
    layers = _layers(automaton)
    given = usable(log_p, lengths, len(automaton.alphabet))
    longest = int(lengths.max()) if len(lengths) else 0
    kept = k * sum(layers.size(t) for t in range(longest + 1))
    parts = [
        _k_best(given[some], lengths[some], layers, k)
        for some in torch.arange(len(given)).split(max(1, NUMBERS // kept))
    ]
    symbols, scores = (torch.cat(found) for found in zip(*parts, strict=True))
    return symbols, scores.to(log_p.dtype)


def _k_best(given: Tensor, lengths: Tensor, layers: _Layers, k: int) -> tuple[Tensor, Tensor]:
    """`k_best` of rows whose origins can be kept all at once."""
    batch, count, _ = given.shape
    letters = _by_letter(given, layers.members)  # (T, letters, symbols of one, B)
    wide = min(k, letters.shape[2])
    likely, which = largest_of(letters, wide, 2)
    likely, which = likely.flatten(1, 2), which.flatten(1, 2)
    now = at_start(k, given)
    scores = now[k:]
    origins: list[list[Tensor]] = []
    row = torch.zeros(k, batch, dtype=torch.int64, device=given.device)
    begins = {}
    ends = set(lengths.tolist())
    for t in range(max(ends, default=0) + 1):
        if t:
            now, came = layers.step(t - 1).largest(now, likely[t - 1], k, wide)
            origins.append(came)
        if t in ends and len(states := layers.ends(t).to(given.device)):
            rows = (states[:, None] * k + torch.arange(k, device=given.device)).flatten()
            found, place = largest_of(now.index_select(0, rows), k, 0)
            scores = torch.where(lengths == t, found, scores)
            begins[t] = rows[place]
    symbols = torch.full((count, k, batch), -1, device=given.device)
    for t in range(len(origins), 0, -1):
        if t in begins:
            row = torch.where(lengths == t, begins[t], row)
        row, letter = layers.step(t - 1).before(row, origins[t - 1], k, wide)
        one = which[t - 1].gather(0, letter)
        symbol = layers.members.to(given.device)[letter // wide, one]
        symbols[t - 1] = torch.where(lengths >= t, symbol, -1)
    possible = scores > IMPOSSIBLE
    symbols = symbols.where(possible, -1).permute(2, 1, 0)
    return symbols, scores.where(possible, NEVER).T


class _Layers:
    """The states that strings of each length reach, and the steps between them; made when asked."""

    def __init__(self, automaton: Automaton) -> None:
        letters = automaton.letters
        groups = [
            np.flatnonzero(letters == letter) for letter in range(letters.max(initial=-1) + 1)
        ]
        self.members = padded(groups, len(letters))  # (letters, symbols of one)
        table = automaton.table[:, [group[0] for group in groups]]
        self.sources, self.letters = (table != REFUSED).nonzero()
        self.targets = table[self.sources, self.letters]
        self.accepting = automaton.accepting
        self.states = [np.zeros(1, np.int64)]
        self.steps: list[Step] = []
        self.known: dict[bytes, tuple[Step, Rows]] = {}
        self.lock = Lock()

    def step(self, t: int) -> Step:
        """From what is reached after t symbols to what is reached after one more."""
        with self.lock:  # a server answers in several threads
            while len(self.steps) <= t:
                here = self.states[-1]
                if here.tobytes() not in self.known:
                    self.known[here.tobytes()] = self._onward(here)
                step, there = self.known[here.tobytes()]
                self.steps.append(step)
                self.states.append(there)
        return self.steps[t]

    def _onward(self, here: Rows) -> tuple[Step, Rows]:
        place = np.full(len(self.accepting), -1)
        place[here] = np.arange(len(here))
        used = place[self.sources] >= 0
        there, targets = np.unique(self.targets[used], return_inverse=True)
        step = Step.of(
            place[self.sources[used]], self.letters[used], targets.ravel(), len(here), len(there)
        )
        return step, there.astype(np.int64)

    def size(self, t: int) -> int:
        """How many states are reached after t symbols, and one that never is."""
        if t:
            self.step(t - 1)
        return len(self.states[t]) + 1

    def ends(self, t: int) -> Tensor:
        """The rows of accepting states among those reached after t symbols."""
        return lasting(np.flatnonzero(self.accepting[self.states[t]]))


@lru_cache(maxsize=64)
def _layers(automaton: Automaton) -> _Layers:
    return _Layers(automaton)


@dataclass(frozen=True, eq=False)
class Step:
    """The arrows from states in rows to states in rows; the last row is a state never reached.

    Args:
        sources, letters: (rows, wide) the row before, and the letter, of each arrow.
        joins: (rows, wide) each, rows of what came out before, where some states have far more
            arrows than others: these are summed in parts.
    """

    sources: Tensor
    letters: Tensor
    joins: tuple[Tensor, ...]

    @classmethod
    def of(cls, sources: Rows, letters: Rows, targets: Rows, before: int, after: int) -> Step:
        """From arrows, between `before` and `after` states."""
        first, *joins = grouped(targets, after)
        source = np.append(sources, before)[first]
        letter = np.append(letters, 0)[first]
        return cls(lasting(source), lasting(letter), tuple(map(lasting, joins)))

    def total(self, now: Tensor, letter: Tensor) -> Tensor:
        """log p of each state (rows, B) after one more step, whose letters are (letters, B)."""
        x = pick_rows(now, self.sources) + pick_rows(letter, self.letters)
        x = x.logsumexp(1) if x.shape[1] > 1 else x[:, 0]
        for join in self.joins:
            x = pick_rows(x, join).logsumexp(1)
        return x

    def largest(
        self, now: Tensor, letter: Tensor, k: int, wide: int
    ) -> tuple[Tensor, list[Tensor]]:
        """The k largest of each state (rows k, B), and which arrow each came by, join by join."""
        sources, letters, joins = _expanded(self, k, wide)
        x, came = largest_of(pick_rows(now, sources) + pick_rows(letter, letters), k, 1)
        origins = [came.flatten(0, 1)]
        for join in joins:
            x, came = largest_of(pick_rows(x.flatten(0, 1), join), k, 1)
            origins.append(came.flatten(0, 1))
        return x.flatten(0, 1), origins

    def before(
        self, row: Tensor, origins: Sequence[Tensor], k: int, wide: int
    ) -> tuple[Tensor, Tensor]:
        """The rows before and the letters by which `row` (k, B) was reached."""
        sources, letters, joins = _expanded(self, k, wide)
        for table, came in zip(joins[::-1], origins[:0:-1], strict=True):
            row = table.to(row.device)[row // k, came.gather(0, row)]
        at = row // k, origins[0].gather(0, row)
        return sources.to(row.device)[at], letters.to(row.device)[at]


@lru_cache(maxsize=4096)
def _expanded(step: Step, k: int, wide: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The tables of a step where each state has k strings and each letter `wide` symbols.

    The i-th string with the j-th symbol can be among the k best only if (i + 1) (j + 1) <= k.
    """
    with torch.inference_mode(False):
        pairs = [(i, j) for i in range(k) for j in range(wide) if (i + 1) * (j + 1) <= k]
        strings, symbols = torch.tensor(pairs).T
        sources = (step.sources[..., None] * k + strings).flatten(1)
        letters = (step.letters[..., None] * wide + symbols).flatten(1)
        missing = (0, max(0, k - sources.shape[1]))
        never = int(step.sources[-1, 0]) * k
        joins = [(join[..., None] * k + torch.arange(k)).flatten(1) for join in step.joins]
        return F.pad(sources, missing, value=never), F.pad(letters, missing), joins


def lasting(table: Rows) -> Tensor:
    """As a tensor that takes part in gradients later, whatever the mode is now."""
    with torch.inference_mode(False):
        return torch.from_numpy(table)


def grouped(targets: Rows, count: int) -> list[Rows]:
    """Tables that bring together the places of equal targets, one after the other.

    Each is (rows + 1, wide) of row numbers of what came before, at first of `targets`; the last
    row, and the rest of a shorter row, is the number past the last, `len(targets)` at first. The
    last table has `count` rows, one for each target, and one more.

    >>> grouped(np.array([0, 1, 1]), 2)[0].tolist()
    [[0, 3], [1, 2], [3, 3]]
    """
    tables = []
    while True:
        amounts = np.bincount(targets, minlength=count)
        most = max(1, int(amounts.max(initial=0)))
        is_last = most <= WIDEST or count * most <= 2 * len(targets)
        wide = most if is_last else WIDEST
        pieces = np.maximum(1, -(-amounts // wide))
        order = np.argsort(targets, kind="stable")
        rank = np.arange(len(targets)) - (np.cumsum(amounts) - amounts)[targets[order]]
        rows = (np.cumsum(pieces) - pieces)[targets[order]] + rank // wide
        table = np.full((pieces.sum() + 1, wide), len(targets))
        table[rows, rank % wide] = order
        tables.append(table)
        if is_last:
            return tables
        targets = np.repeat(np.arange(count), pieces)


def usable(log_p: Tensor, lengths: Tensor, columns: int) -> Tensor:
    """In float64, with -1e30 at least; what does not fit together is a mistake of ours."""
    assert log_p.shape[2] == columns, "a column for each symbol"
    assert lengths.shape == log_p.shape[:1]
    assert not len(lengths) or 0 <= int(lengths.min()) <= int(lengths.max()) <= log_p.shape[1]
    return log_p.double().clamp(min=NEVER)


def _by_letter(given: Tensor, members: Tensor) -> Tensor:
    """(B, T, S) -> (T, letters, symbols of one, B), filled with symbols that never are."""
    x = F.pad(given, (0, 1), value=NEVER).permute(1, 2, 0).contiguous()
    found = x.index_select(1, members.to(x.device).flatten())
    return found.unflatten(1, members.shape)


def at_start(k: int, like: Tensor) -> Tensor:
    """(2 k, B): the empty string in the state at the start, and the state that is never reached."""
    now = torch.full((2 * k, len(like)), NEVER, dtype=torch.float64, device=like.device)
    now[0] = 0
    return now


def padded(groups: Sequence[Rows], filling: int) -> Tensor:
    """(groups, longest) of numbers, the rest of a row filled."""
    longest = max(map(len, groups), default=1)
    table = np.full((len(groups), longest), filling)
    for row, group in zip(table, groups, strict=True):
        row[: len(group)] = group
    return lasting(table)


def pick_rows(x: Tensor, table: Tensor) -> Tensor:
    """The rows of x (n, B) that a table (rows, wide) names: (rows, wide, B)."""
    return x.index_select(0, table.to(x.device).flatten()).unflatten(0, table.shape)


def largest_of(x: Tensor, k: int, axis: int) -> tuple[Tensor, Tensor]:
    """The k largest along an axis, and their places."""
    if k == 1:  # topk(1) takes 3 times as long
        return x.max(axis, keepdim=True)
    return x.topk(k, axis)
