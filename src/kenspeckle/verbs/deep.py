"""What features and out-of-fold answers add to the checks: copies, label errors, shortcuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Tell


def deeply_grouped(prepared: Prepared, vectors: NDArray[np.float32]) -> Prepared:
    """The same images, with pictures that features show to be copies in one group."""
    return prepared


def deeply_checked(
    prepared: Prepared,
    vectors: NDArray[np.float32],
    probabilities: NDArray[np.float64] | None,
    tell: Tell,
) -> Prepared:
    """The same images, with what the checks find when they see features and answers."""
    return replace(prepared)


def looked_deeper(prepared: Prepared, tell: Tell) -> Prepared:
    """The same images, seen by the packaged network."""
    return prepared
