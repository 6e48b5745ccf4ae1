"""The likeliest permitted strings of a network that writes symbol by symbol: a beam, not exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.knowledge.automaton import REFUSED, Automaton

WIDTH = 16  # beginnings that are followed at once
HOPELESS = 10.0  # nats below the best string that was found: what is left there is not followed

Step = Callable[[Tensor], Tensor]
"""(K, U) symbols written so far -> (K, symbols + 1) log p of what comes next; last is the end."""


def likeliest(
    step: Step, automaton: Automaton, longest: int, width: int = WIDTH
) -> list[tuple[tuple[int, ...], float]]:
    """Accepted strings with their log p, the likeliest first; none where none is short enough.

    Of the beginnings that an accepted string of at most `longest` symbols has, the `width`
    likeliest are followed. A string whose beginning looked unlikely may be missed, the likeliest
    too.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> log_p = torch.tensor([0.6, 0.3, 0.1]).log()  # a, b, the end: the same at every place
    >>> step = lambda written: log_p.expand(len(written), 3)
    >>> found = likeliest(step, from_pattern("ab?", "ab"), 2)
    >>> [(said, round(p, 2)) for said, p in found]
    [((0,), -2.81), ((0, 1), -4.02)]
    """
    left = _to_the_end(automaton)
    states: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    scores = np.zeros(1)
    written = np.zeros((1, 0), dtype=np.int64)
    found: list[tuple[tuple[int, ...], float]] = []
    for place in range(longest + 1):
        log_p = step(torch.from_numpy(written)).detach().cpu().double().numpy()
        total = scores[:, None] + log_p
        for row in np.flatnonzero(automaton.accepting[states]):
            found.append((tuple(written[row].tolist()), float(total[row, -1])))
        targets = automaton.table[states].astype(np.int64)
        near = np.where(targets == REFUSED, longest + 1, left[targets]) <= longest - place - 1
        open_ = np.where(near, total[:, :-1], -np.inf)
        best = max((score for _, score in found), default=-np.inf)
        order = np.argsort(-open_, axis=None, kind="stable")[:width]
        order = order[open_.flat[order] > max(best - HOPELESS, -np.inf)]
        if not len(order):
            break
        rows, symbols = np.unravel_index(order, open_.shape)
        scores, states = open_[rows, symbols], targets[rows, symbols]
        written = np.concatenate([written[rows], symbols[:, None]], 1)
    return sorted(found, key=lambda pair: -pair[1])


def _to_the_end(automaton: Automaton) -> NDArray[np.int64]:
    """(states,) symbols from each state to the nearest accepting one; very many where none is."""
    never = np.iinfo(np.int32).max
    left = np.where(automaton.accepting, 0, never).astype(np.int64)
    for _ in range(len(left)):
        next_ = np.where(automaton.table == REFUSED, never, left[automaton.table]).min(1)
        shorter = np.minimum(left, np.minimum(next_ + 1, never))
        if (shorter == left).all():
            break
        left = shorter
    return left
