"""Whether a stated 80 % is right 8 times in 10."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kenspeckle.errors import EmptyDataset
from kenspeckle.score import Score, bootstrap

Floats = NDArray[np.float64]


def calibration_error(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> float:
    """How far stated confidence is from being right, in [0, 1]; 0 is perfect.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,) integers in 0..K-1.
        bins: equal-width confidence bins; empty ones are skipped.

    Raises:
        EmptyDataset: if N is 0, since an average over nothing would look perfect.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.

    >>> said, true = np.array([[0.8, 0.2]] * 5), np.array([0, 0, 0, 0, 1])
    >>> round(calibration_error(said, true), 6)   # said 0.8, right 4 times of 5
    0.0
    """
    return sum(
        share * abs(said - right) for share, said, right in reliability(probabilities, labels, bins)
    )


def reliability(
    probabilities: Floats, labels: NDArray[np.int64], bins: int = 15
) -> list[tuple[float, float, float]]:
    """For each bin that holds images: their share, mean stated confidence, share that is right."""
    if len(labels) == 0:
        raise EmptyDataset("There is no image to measure calibration on.")
    said = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    number = np.minimum((said * bins).astype(int), bins - 1)
    rows = []
    for b in range(bins):
        inside = number == b
        if inside.any():
            share = float(inside.mean())
            rows.append((share, float(said[inside].mean()), float(right[inside].mean())))
    return rows


def calibration_score(probabilities: Floats, labels: NDArray[np.int64]) -> Score:
    """`calibration_error` with a bootstrap interval (biased upward below about 300 images)."""
    return bootstrap(
        lambda rows: calibration_error(probabilities[rows], labels[rows]), len(labels), draws=300
    )
