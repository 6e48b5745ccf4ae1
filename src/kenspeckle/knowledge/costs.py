"""Which answer costs least on average, where some mistakes are worse than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kenspeckle.knowledge.draft import Cost

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Decision:
    """An answer by its cost.

    Args:
        leaf: its number; None is "unsure": a person should look.
        cost: expected, of this answer.
        of_likeliest: expected, of the likeliest class.
    """

    leaf: int | None
    cost: float
    of_likeliest: float


def cost_matrix(costs: Sequence[Cost], leaves: int) -> Floats:
    """(L, L + 1) the cost of each answer (column) where each class is true (row).

    The last column is "unsure", infinite where nobody gave it a cost. A mistake of which nothing is
    said costs 1, being right nothing. What stands later in the file holds.
    """
    matrix = np.concatenate([1 - np.eye(leaves), np.full((leaves, 1), np.inf)], 1)
    for cost in costs:
        columns = [leaves] if cost.answered is None else sorted(cost.answered)
        matrix[np.ix_(sorted(cost.truth), columns)] = cost.cost
    matrix[np.arange(leaves), np.arange(leaves)] = 0
    return matrix


def cheapest(p: Floats, matrix: Floats) -> Decision:
    """The answer of least expected cost, the likeliest among equal ones.

    Args:
        p: (L,) probabilities; a class of probability 0 is not answered.
        matrix: of `cost_matrix`.

    Source: Bayes' decision rule; on calibrated probabilities, as in Karthik et al. 2021,
    arXiv:2104.00795, section 3.

    >>> from kenspeckle.knowledge.problems import Place
    >>> worse = Cost(frozenset({1}), frozenset({0}), 50.0, Place(1, 1))
    >>> costs = cost_matrix([worse], 2)
    >>> cheapest(np.array([0.9, 0.1]), costs)  # 0.1 x 50 is more than 0.9 x 1
    Decision(leaf=1, cost=0.9, of_likeliest=5.0)
    """
    expected = p @ np.where(np.isinf(matrix), 0, matrix)
    expected[np.isinf(matrix).any(0)] = np.inf
    expected[:-1][p <= 0] = np.inf
    order = np.lexsort((np.append(-p, 1), expected))
    best = int(order[0])
    likeliest = float(expected[int(p.argmax())])
    return Decision(None if best == len(p) else best, float(expected[best]), likeliest)
