"""A number that never travels without its interval, and the test that compares two of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.errors import EmptyDataset

Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class Score:
    """A measured value with the range that holds the true one in 95 of 100 such measurements.

    Args:
        value: what was measured.
        low, high: the ends of the 95 % interval.
        n: how many images (or groups, where the interval is over groups) it rests on.
        method: how the interval was made, such as `Wilson` or `bootstrap over 31 groups`.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n}"

    def percent(self) -> str:
        """`86.7 % (79.8 to 91.4, n = 150)`."""
        return (
            f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f}, "
            f"n = {self.n})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def proportion(right: int, n: int) -> Score:
    """A share `right / n` in [0, 1] with Wilson's interval.

    Raises:
        EmptyDataset: if n is 0, since a share of nothing would look perfect.

    Source: Wilson 1927, JASA 22(158); Brown, Cai and DasGupta 2001, equation 4.

    >>> str(proportion(9, 10))
    '0.900 [0.596, 0.982], n = 10'
    """
    if n == 0:
        raise EmptyDataset("There is no image to measure on, so there is no score.")
    share, square = right / n, Z95 * Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = 0.0 if right == 0 else centre - half  # exactly: rounding left 0.9999999999999999
    high = 1.0 if right == n else centre + half
    return Score(share, low, high, n, "Wilson")


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    groups: Sequence[Hashable] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Score:
    """Any statistic with a percentile bootstrap interval, drawing whole groups where given.

    Args:
        statistic: rows (M,) of 0..n-1, with repeats -> a number.
        groups: n labels; what shares one (a patient, a burst) is drawn together.

    Raises:
        EmptyDataset: if n is 0.

    Source: Efron and Tibshirani 1993, chapter 13; cluster bootstrap, Field and Welsh 2007.

    >>> right = np.array([1, 1, 1, 0])
    >>> bootstrap(lambda rows: right[rows].mean(), 4).value
    0.75
    """
    if n == 0:
        raise EmptyDataset("There is no image to measure on, so there is no score.")
    random = np.random.default_rng(seed)
    everything = np.arange(n)
    if groups is None:
        samples = (random.integers(0, n, n) for _ in range(draws))
        units, method = n, "bootstrap"
    else:
        members = _members(groups)
        samples = (
            np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
            for _ in range(draws)
        )
        units, method = len(members), f"bootstrap over {len(members)} groups"
    low, high = np.nanquantile([statistic(rows) for rows in samples], [0.025, 0.975])
    return Score(float(statistic(everything)), float(low), float(high), units, method)


def _members(groups: Sequence[Hashable]) -> list[NDArray[np.intp]]:
    """The rows of each group."""
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    of = np.array([number[group] for group in groups])
    order = np.argsort(of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(of[order])) + 1)


def accuracy_score(right: NDArray[np.bool_], groups: Sequence[Hashable] | None = None) -> Score:
    """The share of right answers: Wilson's interval, or a bootstrap where groups hold several.

    Args:
        right: (N,) whether each answer is right.
        groups: N group labels; intervals ignore that images of one group are alike unless given.
    """
    n, share = len(right), float(right.mean()) if len(right) else 0.0
    if groups is None or len(set(groups)) == n:
        return proportion(int(right.sum()), n)
    if share in (0.0, 1.0):  # every draw is the same, so a bootstrap would claim certainty
        units = len(set(groups))
        return replace(proportion(round(share * units), units), method=f"Wilson, {units} groups")
    return bootstrap(lambda rows: float(right[rows].mean()), n, groups)


def paired_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    groups: Sequence[Hashable] | None = None,
) -> Score:
    """How much better `first` is than `second` on the same images; beyond noise if low > 0.

    Args:
        first, second: (N,) per-image results (1 right, 0 wrong, or a log-likelihood).
        groups: N group labels, where images of one group are alike.

    >>> one, two = np.ones(40), np.repeat([0.0, 1.0], 20)
    >>> paired_difference(one, two).low > 0
    True
    """
    gap = np.asarray(first, float) - np.asarray(second, float)
    return bootstrap(lambda rows: float(gap[rows].mean()), len(gap), groups)


def standard_error(values: NDArray[np.float64], groups: Sequence[Hashable] | None = None) -> float:
    """Of the mean of (N,) values, N at least 2; images of one group count as one draw together.

    Source: the cluster-robust variance of a mean, Cameron and Miller 2015, section II.B, with the
    correction G / (G - 1) for G groups; infinite for a single group.

    >>> values = np.array([1.0, 2.0, 3.0, 4.0])
    >>> round(standard_error(values), 3), round(standard_error(values, [0, 0, 1, 1]), 3)
    (0.645, 1.0)
    """
    n = len(values)
    spread = values - values.mean()
    sums = spread if groups is None else [spread[rows].sum() for rows in _members(groups)]
    count = len(sums)
    if count < 2:
        return math.inf
    return float(np.sqrt(count / (count - 1) * np.square(sums).sum()) / n)
