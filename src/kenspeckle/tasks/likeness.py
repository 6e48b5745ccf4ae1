"""How like real images generated ones are, as sets, measured on vectors of features.

All distances are Euclidean, in double precision, between rows of features that the caller made of
images with one and the same network. Values over different features cannot be compared, so each is
to be printed beside its value for real against real.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.batch import in_pieces
from kenspeckle.errors import DataError
from kenspeckle.score import Score, proportion

Floats = NDArray[np.float64]

NEIGHBOURS = 5  # k of density and coverage: the paper's choice
PIECE = 2048  # rows of either side at once: 34 MB of distances
QUANTILE = 0.01  # of held-out distances: as near as only one held-out image in a hundred
TOO_MANY = 0.02  # share of generated images that may lie that near: twice what chance gives


def frechet_distance(a: Floats, b: Floats) -> float:
    """The distance of two sets of vectors, each taken as a normal distribution; 0 is equal.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^(1/2) C_b C_a^(1/2))^(1/2))

    with m the means and C the covariances. Never to be called FID, which is this on the features
    of one certain network. Few rows make it too large: with fewer than about ten times D, compare
    only values that were made with equal numbers of rows.

    Args:
        a: (N, D), N at least 2.
        b: (M, D), M at least 2.

    Returns:
        At least 0, in the square of the features' unit.

    Raises:
        DataError: rows too few, of different length, or not finite.

    Source: Heusel et al. 2017, arXiv:1706.08500, equation 6; the symmetric product has the
    eigenvalues of C_a C_b and needs no square root of a matrix that is not symmetric.

    >>> line = np.array([[0.0], [1.0], [2.0]])
    >>> round(frechet_distance(line, line + 3), 9)
    9.0
    """
    a, b = _checked(a, b, fewest=2)
    shift = a.mean(0) - b.mean(0)
    first, second = _covariance(a), _covariance(b)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = root @ second @ root
    common = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
    return max(0.0, float(shift @ shift + np.trace(first) + np.trace(second) - 2 * common))


def kernel_distance(a: Floats, b: Floats) -> float:
    """The distance of two sets of vectors by a cubic kernel; 0 on average where both are alike.

    mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j) - 2 mean over i, j of
    k(a_i, b_j),   k(x, y) = (x . y / D + 1)^3

    Unlike the Frechet distance it is not larger for few rows, so it is the one to read below about
    5000; by chance it may be a little below 0.

    Args:
        a: (N, D), N at least 2.
        b: (M, D), M at least 2.

    Raises:
        DataError: rows too few, of different length, or not finite.

    Source: Binkowski et al. 2018, arXiv:1801.01401, section 4; the unbiased estimate is Gretton et
    al. 2012, JMLR 13, lemma 6.

    >>> line = np.array([[0.0], [1.0], [2.0]])
    >>> kernel_distance(line, line + 3) > 0
    True
    """
    a, b = _checked(a, b, fewest=2)
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a) - _kernel(np.square(a).sum(1), a.shape[1]).sum()) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - _kernel(np.square(b).sum(1), b.shape[1]).sum()) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b) / (n * m))


def coverage(real: Floats, generated: Floats, neighbours: int = NEIGHBOURS) -> Score:
    """The share of real images that have a generated one nearby; low where some kinds are missing.

    1 / N * sum over i of 1[some generated row lies within B(x_i, r_i)]

    with r_i the distance from x_i to its k-th nearest other real row.

    Args:
        real: (N, D), N above k.
        generated: (M, D); M should be N, for more rows cover more.
        neighbours: k. The expected value for M = N rows of the same distribution is about
            1 - 1 / 2^k, .97 for 5.

    Returns:
        In [0, 1]; the interval is Wilson's over the N real rows, and says nothing of another set
        of generated ones.

    Raises:
        DataError: rows too few, of different length, or not finite.

    Source: Naeem et al. 2020, arXiv:2002.09797, section 3.2; the expected value is in section 3.3.

    >>> real = np.arange(10.0)[:, None]
    >>> coverage(real, real[:5], neighbours=1).value
    0.6
    """
    inside = covered(real, generated, neighbours)
    return proportion(int(np.count_nonzero(inside)), len(inside))


def covered(real: Floats, generated: Floats, neighbours: int = NEIGHBOURS) -> NDArray[np.bool_]:
    """Which real images have a generated one nearby, (N,): what `coverage` is the share of.

    >>> covered(np.arange(4.0)[:, None], np.array([[0.5]]), neighbours=1).tolist()
    [True, True, False, False]
    """
    return _inside(real, generated, neighbours).of_real > 0


def density(real: Floats, generated: Floats, neighbours: int = NEIGHBOURS) -> float:
    """How deep in crowds of real images the generated ones lie; 1 for the same distribution.

    1 / (k M) * sum over j, i of 1[y_j lies within B(x_i, r_i)]

    with r_i the distance from x_i to its k-th nearest other real row. Low for images that look like
    none; above 1 where only the commonest kinds are generated, which `coverage` then shows.

    Args:
        real: (N, D), N above k.
        generated: (M, D).
        neighbours: k.

    Returns:
        At least 0, at most N / k.

    Raises:
        DataError: rows too few, of different length, or not finite.

    Source: Naeem et al. 2020, arXiv:2002.09797, section 3.1.

    >>> real = np.arange(10.0)[:, None]
    >>> density(real, real + 100)
    0.0
    """
    inside = _inside(real, generated, neighbours)
    return float(inside.of_generated.sum() / (neighbours * len(inside.of_generated)))


@dataclass(frozen=True)
class Memorised:
    """Whether generated images are copies of training images.

    Args:
        share: of generated images nearer to a training image than `threshold`.
        threshold: a hundredth of held-out real images lie nearer than this.
        rows: (M,) the generated images, nearest to their training image first.
        nearest: (M,) the training image that is nearest to each of `rows`.
        distances: (M,) how far apart they are, ascending.
    """

    share: Score
    threshold: float
    rows: NDArray[np.int64]
    nearest: NDArray[np.int64]
    distances: Floats

    @property
    def is_flagged(self) -> bool:
        """More than `TOO_MANY` of the generated images are that near."""
        return self.share.value > TOO_MANY


def memorised(generated: Floats, train: Floats, held_out: Floats) -> Memorised:
    """How many generated images lie nearer to a training image than real ones do.

    share = 1 / M * sum over j of 1[d(y_j) < q],   d(x) = min over training rows t of |x - t|

    with q the 1st percentile of d over held-out real rows: a generator that has learned the
    distribution and not the images has a share of about .01. A low share is no proof of privacy.

    Args:
        generated: (M, D).
        train: (N, D), what the generator was trained on.
        held_out: (H, D), real rows that it never saw; with fewer than a few hundred, q is little
            more than the smallest of them.

    Raises:
        DataError: rows too few, of different length, or not finite.

    Source: the idea is that of Meehan et al. 2020, arXiv:2004.05675, section 3, whose test compares
    the same two sets of distances.

    >>> random = np.random.default_rng(0)
    >>> train, held_out = random.normal(size=(2, 300, 8))
    >>> memorised(train[:50], train, held_out).share.value
    1.0
    """
    generated, train = _checked(generated, train)
    held_out, train = _checked(held_out, train)
    threshold = float(np.quantile(_nearest(held_out, train)[1], QUANTILE))
    nearest, distances = _nearest(generated, train)
    order = np.argsort(distances, kind="stable")
    near = int(np.count_nonzero(distances < threshold))
    return Memorised(
        proportion(near, len(generated)), threshold, order, nearest[order], distances[order]
    )


@dataclass(frozen=True)
class _Inside:
    """How many generated rows lie in the ball of each real row, (N,), and the reverse, (M,)."""

    of_real: NDArray[np.int64]
    of_generated: NDArray[np.int64]


def _inside(real: Floats, generated: Floats, neighbours: int) -> _Inside:
    real, generated = _checked(real, generated)
    if not 1 <= neighbours < len(real):
        raise DataError(
            f"A ball reaches to the neighbour number {neighbours}, which must be 1 or more and "
            f"below the number of real images; there are {len(real)}. Measure on more of them."
        )
    radii = _radii(real, neighbours)
    of_real, of_generated = np.zeros(len(real), np.int64), np.zeros(len(generated), np.int64)
    for rows, columns, squares in _pieces(real, generated):
        is_inside = squares <= radii[rows, None]
        of_real[rows] += is_inside.sum(1)
        of_generated[columns] += is_inside.sum(0)
    return _Inside(of_real, of_generated)


def _radii(real: Floats, neighbours: int) -> Floats:
    """(N,) squared distances to the k-th nearest other row."""
    smallest = np.full((len(real), neighbours), np.inf)
    for rows, columns, squares in _pieces(real, real):
        if rows == columns:
            np.fill_diagonal(squares, np.inf)
        both = np.concatenate([smallest[rows], squares], axis=1)
        smallest[rows] = np.partition(both, neighbours - 1, axis=1)[:, :neighbours]
    return smallest.max(1)


def _nearest(rows: Floats, among: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The nearest row of `among` to each row, and how far it is."""
    best, smallest = np.zeros(len(rows), np.int64), np.full(len(rows), np.inf)
    for here, there, squares in _pieces(rows, among):
        found = squares.argmin(1)
        value = squares[np.arange(len(found)), found]
        is_nearer = value < smallest[here]
        best[here] = np.where(is_nearer, there.start + found, best[here])
        smallest[here] = np.where(is_nearer, value, smallest[here])
    # Once more from the difference itself: a copy is then at 0, not at the rounding of |x|^2.
    return best, np.linalg.norm(rows - among[best], axis=1)


def _pieces(a: Floats, b: Floats) -> Iterator[tuple[slice, slice, Floats]]:
    """Squared distances in blocks: rows of a, rows of b, and the (rows, rows) between them."""
    # From a middle: |x|^2 + |y|^2 - 2 x.y loses as many digits as |x|^2 exceeds the distance.
    middle = a.mean(0)
    for columns in in_pieces(len(b), PIECE):
        there = b[columns] - middle
        lengths = np.square(there).sum(1)
        for rows in in_pieces(len(a), PIECE):
            here = a[rows] - middle
            squares = np.square(here).sum(1)[:, None] + lengths - 2 * (here @ there.T)
            yield rows, columns, np.maximum(squares, 0)


def _kernel(products: Floats, width: int) -> Floats:
    return (products / width + 1) ** 3


def _kernel_sum(a: Floats, b: Floats) -> float:
    """The kernel added up over all pairs of rows."""
    pieces = (
        _kernel(a[rows] @ b[columns].T, a.shape[1]).sum()
        for rows in in_pieces(len(a), PIECE)
        for columns in in_pieces(len(b), PIECE)
    )
    return float(sum(pieces))


def _covariance(rows: Floats) -> Floats:
    centred = rows - rows.mean(0)
    return centred.T @ centred / (len(rows) - 1)


def _checked(a: Floats, b: Floats, fewest: int = 1) -> tuple[Floats, Floats]:
    """Both in double precision, fit to be compared."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(
            f"Sets of vectors are compared as (N, D) and (M, D); found {a.shape} and {b.shape}. "
            "Make both with the same network."
        )
    if min(len(a), len(b)) < fewest:
        raise DataError(
            f"Each set needs at least {fewest} images; found {len(a)} and {len(b)}. "
            "Measure on more of them."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("Features that are infinite or not a number cannot be compared.")
    return a, b
