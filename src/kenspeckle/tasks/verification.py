"""How well pairs of images are told apart: the same person, place or thing, or two."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from kenspeckle.errors import DataError, EmptyDataset, UsageError
from kenspeckle.models.vectors import unit
from kenspeckle.score import Score, accuracy_score, proportion

Floats = NDArray[np.floating]
Statistic = Callable[["Roc"], float]

# False-accept rates at which true accepts are told, where pairs suffice.
RATES = (0.1, 0.01, 0.001)
DRAWS = 1000
TOGETHER = 32  # draws at once: 17 MB where there are most bins
MOST_BINS = 2**16  # of similarities in the bootstrap; up to 362 images each pair has its own
ROUNDING = 1e-6  # the same two vectors differ by 1e-7 when multiplied in blocks of another shape


@dataclass(frozen=True)
class Pairs:
    """Every two images of a set, compared.

    Args:
        first, second: (P,) rows of the two images, first < second.
        similar: (P,) cosines in [-1, 1].
        same: (P,) whether both show the same person.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similar: Floats
    same: NDArray[np.bool_]


@dataclass(frozen=True)
class Roc:
    """What is accepted at each threshold: pairs at least as similar as it.

    Args:
        false_accept: (M,) share of different pairs that is accepted, from 0 rising to 1.
        true_accept: (M,) share of same pairs that is accepted, from 0 rising to 1.
        thresholds: (M,) falling; the first is infinite, the others are all similarities met.
    """

    false_accept: Floats
    true_accept: Floats
    thresholds: Floats

    def area(self) -> float:
        """Under the curve, by trapezia: a tie between a same and a different pair counts half."""
        heights = self.true_accept[1:] + self.true_accept[:-1]
        return float((np.diff(self.false_accept) * heights).sum() / 2)

    def equal_error(self) -> float:
        """Where as many different pairs are accepted as same pairs refused; linear between."""
        gap = self.false_accept - (1 - self.true_accept)  # from -1 rising to 1
        after = int(np.argmax(gap >= 0))
        part = gap[after - 1] / (gap[after - 1] - gap[after])
        low, high = self.false_accept[after - 1 : after + 1]
        return float(low + part * (high - low))

    def true_accept_at(self, rate: float) -> float:
        """The largest share of true accepts with at most `rate` false ones."""
        allowed = np.searchsorted(self.false_accept, rate + 1e-12, side="right") - 1
        return float(self.true_accept[allowed])

    def at(self, threshold: float) -> tuple[float, float]:
        """Shares of false and of true accepts at `threshold`."""
        last = np.searchsorted(-self.thresholds, -threshold, side="right") - 1
        return float(self.false_accept[last]), float(self.true_accept[last])


def all_pairs(vectors: Floats, names: Sequence[str]) -> Pairs:
    """Every two of N images by the cosine of their vectors: P = N (N - 1) / 2.

    Args:
        vectors: (N, D), any length.
        names: N, who or what each image shows.

    >>> pairs = all_pairs(np.eye(3), ["anna", "anna", "beth"])
    >>> pairs.same.tolist(), pairs.similar.tolist()
    ([True, False, False], [0.0, 0.0, 0.0])
    """
    alike, who = _compared(vectors, names)
    first, second = np.triu_indices(len(names), 1)
    return Pairs(first, second, alike[first, second], who[first] == who[second])


def roc(similar: Floats, same: NDArray[np.bool_]) -> Roc:
    """False and true accepts at every threshold that makes a difference.

    Args:
        similar: (P,) similarities; a pair is accepted at a threshold it reaches.
        same: (P,) whether the pair is of one person.

    Raises:
        EmptyDataset: there is no same pair or no different one.

    Source: Fawcett 2006, Pattern Recognition Letters 27(8), algorithm 1.

    >>> curve = roc(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]))
    >>> curve.false_accept.tolist(), curve.true_accept.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    _check_both(same)
    order = np.argsort(-similar, kind="stable")
    falling = similar[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # of each similarity
    true = np.cumsum(same[order], dtype=np.float64)[last]
    false = last + 1 - true
    return Roc(_shares(false), _shares(true), np.append(np.inf, falling[last]))


def area_under_roc(similar: Floats, same: NDArray[np.bool_]) -> float:
    """The chance that a same pair is more similar than a different one, in [0, 1]; ties half.

    Args:
        similar: (P,) similarities.
        same: (P,) whether the pair is of one person.

    Raises:
        EmptyDataset: there is no same pair or no different one.

    Source: Hanley and McNeil 1982, Radiology 143(1).

    >>> area_under_roc(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]))
    0.75
    """
    return roc(similar, same).area()


def equal_error_rate(similar: Floats, same: NDArray[np.bool_]) -> float:
    """The error where false accepts and false refusals are equally frequent, in [0, 1]; 0 is best.

    Between two neighbouring thresholds both are taken as linear.

    Args:
        similar: (P,) similarities.
        same: (P,) whether the pair is of one person.

    Raises:
        EmptyDataset: there is no same pair or no different one.

    >>> equal_error_rate(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]))
    0.5
    """
    return roc(similar, same).equal_error()


def threshold_for(different: Floats, rate: float) -> float:
    """The similarity from which on to accept, so that at most `rate` of different pairs are.

    It lies just above the first pair that must be refused. On new people the rate will be another:
    measure it there (`verification_scores` with this threshold).

    Args:
        different: (P,) similarities of pairs of two people, none of whom the network learned from.
        rate: false accepts wanted at most, above 0 and below 1.

    Raises:
        UsageError: a rate outside (0, 1).
        DataError: fewer than 1 / rate pairs, which cannot show so small a rate.

    >>> round(threshold_for(np.linspace(0, 0.99, 100), 0.05), 4)   # 0.95 .. 0.99 are accepted
    0.94
    """
    if not 0 < rate < 1:
        raise UsageError(f"A false-accept rate lies between 0 and 1, such as 0.01; found {rate:g}.")
    allowed = int(len(different) * rate + 1e-9)
    if allowed < 1:
        raise DataError(
            f"A false-accept rate of {rate:g} needs at least {int(np.ceil(1 / rate - 1e-9))} pairs "
            f"of different people, found {len(different)}. Ask for a higher rate, or add people or "
            "images."
        )
    refused = np.partition(different, -allowed - 1)[-allowed - 1]
    return float(refused) + ROUNDING


def limits_for(different: Floats, rate: float) -> list[float]:
    """Thresholds for galleries of up to 1, 2, 4, 8, ... people, rising.

    Whoever is not enrolled may be taken for any who is, so with n of them each may accept only
    rate / n. On orl-faces (20 people to learn from, 20 never seen, three draws) the threshold for
    1 % of pairs took 36, 28 and 54 % of images of strangers for one of 39 people who were enrolled,
    that for 39 people 3.5, 5.5 and 15.5 %; all who were enrolled were still named right.

    The list ends where the pairs cannot show a smaller rate; its last threshold serves all larger
    galleries. Where even the first cannot be shown, it is that of 1 / P.

    Args:
        different: (P,) similarities of pairs of two people, 2 or more, neither of whom the network
            has learned from.
        rate: false accepts wanted at most, above 0 and below 1.

    Source: Bonferroni's inequality.

    >>> [round(limit, 3) for limit in limits_for(np.arange(400) / 400, 0.01)]
    [0.988, 0.993, 0.995]
    """
    rate = max(rate, 1 / len(different))
    sizes = 2 ** np.arange(int(np.log2(len(different) * rate + 1e-9)) + 1)
    return [threshold_for(different, rate / int(size)) for size in sizes]


def rank_1(vectors: Floats, names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which images can be identified among the others, and whether each of them is.

    An image is identified if another image of the same person is nearer (by cosine) than every
    image of anyone else; equally near is not enough. Who has one image only is left out.

    Args:
        vectors: (N, D), any length.
        names: N.

    Returns:
        (M,) the rows that have another image of their person, and (M,) whether each is identified.

    >>> rank_1(np.array([[1.0, 0], [1, 0.1], [0, 1]]), ["anna", "anna", "beth"])
    (array([0, 1]), array([ True,  True]))
    """
    alike, who = _compared(vectors, names)
    np.fill_diagonal(alike, -np.inf)
    same = who[:, None] == who
    own = np.where(same, alike, -np.inf).max(1, initial=-np.inf)
    other = np.where(same, -np.inf, alike).max(1, initial=-np.inf)
    rows = np.flatnonzero(own > -np.inf)
    return rows, own[rows] > other[rows]


def verification_scores(
    vectors: Floats,
    names: Sequence[str],
    groups: Sequence[Hashable] | None = None,
    threshold: float | None = None,
) -> dict[str, Score]:
    """How well the vectors of people tell them apart; intervals are bootstraps over people.

    `roc_auc_score` and `equal_error` are over all pairs, `true_accept_at_0.01_score` (and `0.001`)
    where there are 100 (1000) different pairs or more. `rank_1_score` is the share of images that
    `rank_1` identifies, with the others held fixed. With a threshold, `false_accept_error` and
    `true_accept_score` are the shares accepted there.

    Pairs share people, so people are drawn and not pairs: with w_a draws of person a, a pair within
    a counts w_a times and a pair of a and b w_a w_b times. Two draws of one person are never
    compared with each other: they would be same pairs that are too alike.

    Args:
        vectors: (N, D), any length, of people that the network has not learned from.
        names: N, who or what each image shows.
        groups: N labels drawn together in place of people, such as families.
        threshold: fixed before these images were seen.

    Raises:
        EmptyDataset: no two images are of one person, or all are.

    Source: subsets bootstrap, Bolle, Ratha and Pankanti 2004, Computer Vision and Image
    Understanding 93(1); why copies must not meet: Conti and Clemencon 2022, arXiv:2211.07245.
    """
    pairs = all_pairs(vectors, names)
    _check_both(pairs.same)
    units = _numbers(names if groups is None else groups)
    kind = "people" if groups is None else "groups"
    statistics = _statistics(int((~pairs.same).sum()), threshold)
    drawn = {name: np.empty(DRAWS) for name in statistics}
    exact = roc(pairs.similar, pairs.same)
    for draw, curve in enumerate(_redrawn(pairs, exact, units)):
        for name, statistic in statistics.items():
            drawn[name][draw] = np.nan if curve is None else statistic(curve)
    count = int(units.max()) + 1
    scores = {
        name: _with_interval(statistic(exact), drawn[name], count, kind)
        for name, statistic in statistics.items()
    }
    rows, right = rank_1(vectors, names)
    score = accuracy_score(right, units[rows].tolist())
    return {**scores, "rank_1_score": replace(score, method=score.method.replace("groups", kind))}


def gallery_scores(
    vectors: Floats,
    names: Sequence[str],
    limits: tuple[float, float],
    groups: Sequence[Hashable] | None = None,
) -> dict[str, Score]:
    """How well images are named when all the others are enrolled; intervals are over people.

    `named_score`: the share of images whose nearest other image is of the same person and reaches
    the limit. `stranger_error`: the share that is taken for somebody once all images of the same
    person are left out, so that whoever it shows is a stranger.

    Args:
        vectors: (N, D), any length, of people that the network has not learned from.
        names: N, who or what each image shows; at least two of them.
        limits: similarity from which on somebody is named, with everyone enrolled, and with one
            person fewer.
        groups: as in `verification_scores`.
    """
    alike, who = _compared(vectors, names)
    np.fill_diagonal(alike, -np.inf)
    same = who[:, None] == who
    own = np.where(same, alike, -np.inf).max(1)
    other = np.where(same, -np.inf, alike).max(1)
    rows, right = np.flatnonzero(own > -np.inf), (own > other) & (own >= limits[0])
    units, kind = (who, "people") if groups is None else (_numbers(groups), "groups")
    found = {
        "named_score": accuracy_score(right[rows], units[rows].tolist()),
        "stranger_error": accuracy_score(other >= limits[1], units.tolist()),
    }
    return {
        name: replace(score, method=score.method.replace("groups", kind))
        for name, score in found.items()
    }


def _compared(vectors: Floats, names: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    """(N, N) cosines, and the number of each name."""
    vectors = unit(np.asarray(vectors, np.float32)).astype(np.float64)
    return np.asarray(vectors @ vectors.T), _numbers(names)


def _numbers(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """0, 1, ... for each label, in the order in which they come."""
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels], np.int64)


def _check_both(same: NDArray[np.bool_]) -> None:
    """Refuse pairs that are all of one kind."""
    if not same.any():
        raise EmptyDataset(
            "No two images show the same person or thing, so nothing can be verified. Give at "
            "least one name two images."
        )
    if same.all():
        raise EmptyDataset(
            "All images show the same person or thing, so nothing can be told apart. Give images "
            "of at least two names."
        )


def _shares(counts: Floats) -> Floats:
    """Counts that rise to their total -> shares that rise from 0 to 1."""
    return np.append(0.0, counts / counts[-1])


def _statistics(different: int, threshold: float | None) -> Mapping[str, Statistic]:
    """What can be measured on so many different pairs."""
    found: dict[str, Statistic] = {"roc_auc_score": Roc.area, "equal_error": Roc.equal_error}
    for rate in RATES:
        if different * rate >= 1 - 1e-9:
            found[f"true_accept_at_{rate:g}_score"] = _true_accept_at(rate)
    if threshold is not None:
        found["false_accept_error"] = lambda curve: curve.at(threshold)[0]
        found["true_accept_score"] = lambda curve: curve.at(threshold)[1]
    return found


def _true_accept_at(rate: float) -> Statistic:
    return lambda curve: curve.true_accept_at(rate)


def _redrawn(pairs: Pairs, exact: Roc, units: NDArray[np.int64]) -> Iterator[Roc | None]:
    """The curve of each draw of people; None where it has no same pair or no different one."""
    count = int(units.max()) + 1
    edges = exact.thresholds[1:]
    if len(edges) > MOST_BINS:
        edges = edges[np.linspace(0, len(edges) - 1, MOST_BINS).round().astype(int)]
    low, high = np.sort([units[pairs.first], units[pairs.second]], axis=0)
    blocks, column = np.unique(low * count + high, return_inverse=True)
    one, other = blocks // count, blocks % count
    bins = np.searchsorted(-edges, -pairs.similar)
    tables = [
        csr_matrix(
            (np.ones(int(kind.sum())), (bins[kind], column[kind])), (len(edges), len(blocks))
        )
        for kind in (~pairs.same, pairs.same)
    ]
    random = np.random.default_rng(0)
    for start in range(0, DRAWS, TOGETHER):
        times = random.multinomial(count, np.full(count, 1 / count), min(TOGETHER, DRAWS - start)).T
        weights = np.where((one == other)[:, None], times[one], times[one] * times[other])
        false, true = (np.cumsum(table @ weights, axis=0) for table in tables)
        for draw in range(times.shape[1]):
            if false[-1, draw] and true[-1, draw]:
                shares = _shares(false[:, draw]), _shares(true[:, draw])
                yield Roc(*shares, np.append(np.inf, edges))
            else:
                yield None


def _with_interval(value: float, drawn: Floats, units: int, kind: str) -> Score:
    """The middle 95 % of the draws, or Wilson's where they are all 0 or all 1."""
    if value in (0.0, 1.0):  # every draw is the same, so a bootstrap would claim certainty
        return replace(proportion(round(value * units), units), method=f"Wilson, {units} {kind}")
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Score(value, float(low), float(high), units, f"bootstrap over {units} {kind}")
