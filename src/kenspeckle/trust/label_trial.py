"""What a transform does to the classes: images answered unchanged and changed, out of fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.score import Z95

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Answer = Callable[[Floats], Floats]
"""Vectors (M, D) -> logits (M, K)."""
Learn = Callable[[Floats, Ints], Answer]
"""Vectors (N, D) and class numbers (N,) -> a fitted head."""

RISK = 0.05  # of a pair called swapped by chance, in all pairs of one transform together
FEWEST = 4  # images answered right: of fewer, even 0 turned leaves room for half
MOST = 0.5  # a swap turns most of a class
UNLEARNED = 0.35  # of a class, still taken for the other after learning (label_safety.py has why)


@dataclass(frozen=True)
class Pair:
    """What a transform did to the images of one class that were answered right before.

    Args:
        source: the class they show.
        answered: the class they were taken for.
        turned: how many were, of `of`.
        of: images of `source` answered right unchanged.
        confused: images of `source` taken for `answered` unchanged, of `confused_of` in all.
        unlearned: how many of `of` were still taken for `answered` by a head that had been shown
            changed images; None where it was not asked.
    """

    source: str
    answered: str
    turned: int
    of: int
    confused: int
    confused_of: int
    unlearned: int | None = None


@dataclass(frozen=True)
class Seen:
    """What one way of changing images did.

    Args:
        swapped: pairs of which one class becomes the other.
        open: pairs that may be swapped.
        learned: pairs that only a head which had not seen such images took for each other.
        right: how many of the images answered right unchanged were answered right changed.
    """

    swapped: tuple[Pair, ...]
    open: tuple[Pair, ...]
    learned: tuple[Pair, ...]
    right: int


class Trial:
    """Images unchanged: the heads that did not see them, and what these answered."""

    def __init__(
        self, before: Floats, targets: Ints, fold: Ints, learn: Learn, classes: Sequence[str]
    ) -> None:
        self.before, self.targets, self.fold, self.learn = before, targets, fold, learn
        self.classes = classes
        self.heads = [
            learn(before[fold != number], targets[fold != number])
            for number in range(fold.max() + 1)
        ]
        answers = self._answers(self.heads, before)
        self.is_right = answers == targets
        self.mistakes = self._table(answers, ~self.is_right)
        self.right = np.bincount(targets[self.is_right], minlength=len(classes))
        self.sizes = self.right + self.mistakes.sum(1)
        self.together = self._inseparable()
        self.untested = tuple(
            name
            for k, name in enumerate(classes)
            if self.right[k] < FEWEST or self.together[k].any()
        )

    def _answers(self, heads: Sequence[Answer], vectors: Floats) -> Ints:
        answers = np.zeros(len(vectors), dtype=np.int64)
        for number, head in enumerate(heads):
            inside = self.fold == number
            answers[inside] = head(vectors[inside]).argmax(1)
        return answers

    def _table(self, answers: Ints, chosen: NDArray[np.bool_]) -> Ints:
        table = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(table, (self.targets[chosen], answers[chosen]), 1)
        return table

    def _inseparable(self) -> NDArray[np.bool_]:
        """(K, K): pairs whose images, answered as one of the two, are told apart by chance.

        Not corrected for the number of pairs: few pairs are mirror images of each other, and being
        stricter would leave every set of many classes untested.
        """
        own, control = self.right, self.mistakes
        a_for_a, a_for_b = own[:, None], control.T  # answered a, of images of a and of b
        low, _ = difference(a_for_a, own[:, None] + control, a_for_b, own + control.T, Z95)
        is_known = (own >= FEWEST)[:, None] & (own >= FEWEST)
        is_mixed = control + control.T > 0
        return is_known & is_mixed & ((low <= 0) | (low.T <= 0))

    def ask(self, after: Floats, comparisons: int, is_mirror: bool) -> Seen:
        """What became of the images.

        Args:
            after: (N, D) of the changed images.
            comparisons: pairs looked at for this transform.
            is_mirror: of a mirror it must be shown that it does not turn half of a class; what
                leaves most of a picture alone is held for harmless until it does.
        """
        z = NormalDist().inv_cdf(1 - RISK / max(1, comparisons))
        turned = self._table(self._answers(self.heads, after), self.is_right)
        kept = int(turned.diagonal().sum())
        np.fill_diagonal(turned, 0)
        control = self.mistakes
        of, sizes = self.right[:, None], self.sizes[:, None]
        is_most = turned > MOST * of
        both, _ = difference(turned + turned.T, of + of.T, control + control.T, sizes + sizes.T, z)
        is_mutual = is_most & is_most.T & (both > 0)
        one, _ = difference(turned, of, control, sizes, z)
        looks_turned = wilson(turned, of, Z95)[1] >= MOST if is_mirror else is_most & (one > 0)
        suspects = looks_turned & (turned > 0) & (of >= FEWEST) & ~is_mutual
        if not suspects.any():
            return Seen(self._pairs(is_mutual, turned), (), (), kept)
        unlearned = self._table(self._answers(self._taught(after), after), self.is_right)
        z = NormalDist().inv_cdf(1 - RISK / int(suspects.sum()))
        still, _ = difference(unlearned, of, control, sizes, z)
        _, left = difference(unlearned, of, control, sizes, Z95)
        is_one_way = suspects & is_most & (one > 0) & (still > 0)
        is_open = suspects & ~is_one_way & (left >= UNLEARNED)
        return Seen(
            self._pairs(is_mutual | is_one_way, turned, unlearned),
            self._pairs(is_open, turned, unlearned),
            self._pairs(suspects & ~is_one_way & ~is_open, turned, unlearned),
            kept,
        )

    def _taught(self, after: Floats) -> list[Answer]:
        """Heads that were shown the changed images of the other folds too."""
        return [
            self.learn(
                np.concatenate([self.before[self.fold != number], after[self.fold != number]]),
                np.tile(self.targets[self.fold != number], 2),
            )
            for number in range(len(self.heads))
        ]

    def _pairs(
        self, chosen: NDArray[np.bool_], turned: Ints, unlearned: Ints | None = None
    ) -> tuple[Pair, ...]:
        found = [
            Pair(
                self.classes[a],
                self.classes[b],
                int(turned[a, b]),
                int(self.right[a]),
                int(self.mistakes[a, b]),
                int(self.sizes[a]),
                None if unlearned is None else int(unlearned[a, b]),
            )
            for a, b in np.argwhere(chosen)
        ]
        return tuple(sorted(found, key=lambda pair: -pair.turned / pair.of))


def wilson(count: Floats | Ints, n: Floats | Ints, z: float) -> tuple[Floats, Floats]:
    """Ends of Wilson's interval of count / n, for arrays; 0 and 1 where n is 0.

    Args:
        z: quantile of the normal distribution, 1.96 for 95 %.

    Source: Wilson 1927, JASA 22(158); as `score.proportion`.
    """
    n = np.asarray(n, float)
    safe = np.maximum(n, 1)
    share = count / safe
    centre = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z / (1 + z * z / safe) * np.sqrt(share * (1 - share) / safe + (z / (2 * safe)) ** 2)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, 1)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def difference(
    count: Floats | Ints, n: Floats | Ints, other: Floats | Ints, m: Floats | Ints, z: float
) -> tuple[Floats, Floats]:
    """Ends of the interval of count / n - other / m, made of two Wilson intervals.

    Source: Newcombe 1998, Statistics in Medicine 17, 873-890, method 10.

    >>> low, high = difference(np.array(9), np.array(10), np.array(3), np.array(10), 1.96)
    >>> round(float(low), 3), round(float(high), 3)   # the paper's table II, row (b)
    (0.171, 0.809)
    """
    one, two = count / np.maximum(n, 1), other / np.maximum(m, 1)
    (one_low, one_high), (two_low, two_high) = wilson(count, n, z), wilson(other, m, z)
    low = one - two - np.hypot(one - one_low, two_high - two)
    high = one - two + np.hypot(one_high - one, two - two_low)
    return low, high
