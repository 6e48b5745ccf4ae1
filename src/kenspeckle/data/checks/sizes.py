"""Pictures whose size or shape is far from the others', very long ones, and single pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kenspeckle.answer import Finding, Severity
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.layouts.listing import counted, some

LONG = 4.0  # longer over shorter side; above, over three quarters of a padded square stay empty
FAR = 5.0  # standard deviations, judged by the median distance from the median
SIZE_TIMES = 16.0  # more or fewer pixels than the median picture: sides that differ four times
SHAPE_TIMES = 2.0  # longer or shorter than the median shape; 4:3 and 16:9 are 1.3 times apart
FEWEST = 10  # images; fewer have no habit to depart from
MOST = 0.05  # of the images; more than that are another kind of picture and no exceptions
_TO_DEVIATION = 1.4826  # of a normal distribution, from the median absolute deviation


def check_sizes(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """Pictures one pixel wide or high, very long ones, and ones unlike the rest of the set.

    Sets of many sizes are usual, so a picture is odd only where it is both many times from the
    median and far beyond the spread of the set. Portrait and landscape count as one shape.
    """
    if evidence.width is None or evidence.height is None or not len(evidence.width):
        return
    rows = np.arange(len(dataset)) if evidence.rows is None else evidence.rows
    width, height = evidence.width, evidence.height
    short = np.minimum(width, height)
    shape = np.maximum(width, height) / short
    is_line = short <= 1
    is_long = ~is_line & (shape > LONG)
    usual = ~is_line & ~is_long
    usual_size = f"{int(np.median(width)):,} x {int(np.median(height)):,}"
    odd_size = _odd(np.log2(width * height), usual, float(np.log2(SIZE_TIMES)))
    odd_shape = _odd(np.log2(shape), usual, float(np.log2(SHAPE_TIMES)))
    kinds: list[tuple[NDArray[np.bool_], Severity, str, str]] = [
        (
            is_line,
            "warning",
            "one pixel wide or high, so that there is nothing to see",
            "Remove them, or put the real pictures in their place.",
        ),
        (
            is_long,
            "note",
            f"over {LONG:g} times longer than wide, so that little is left of them in a square",
            "Cut out what matters, or check that these are whole pictures and meant to be so long.",
        ),
        (
            odd_size,
            "note",
            f"with over {SIZE_TIMES:g} times more or fewer pixels than {usual_size}, the usual",
            "Look whether these are icons, thumbnails or whole pages among photographs.",
        ),
        (
            odd_shape & ~odd_size,
            "note",
            f"over {SHAPE_TIMES:g} times longer or shorter in shape than {usual_size}, the usual",
            "Look whether these are strips, screenshots or joined pictures.",
        ),
    ]
    for which, severity, what, advice in kinds:
        found = np.flatnonzero(which).tolist()
        if found:
            paths = tuple(dataset.samples[int(rows[i])].path for i in found)
            sizes = [(int(width[i]), int(height[i])) for i in found]
            first = f"{paths[0]} is {sizes[0][0]:,} x {sizes[0][1]:,}"
            noun = f"{counted(len(found), 'image')} of {len(width):,}"
            words = f"{noun} {what}; {first}: {some(paths)}."
            yield Finding("sizes", severity, words, advice, paths, facts={"sizes": sizes})


def _odd(values: NDArray[np.float64], usual: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Which of the usual values lie at least `least` and `FAR` deviations from their median."""
    if usual.sum() < FEWEST:
        return np.zeros(len(values), dtype=np.bool_)
    distance = np.abs(values - np.median(values[usual]))
    spread = _TO_DEVIATION * float(np.median(distance[usual]))
    odd = usual & (distance > max(least, FAR * spread))
    return odd if odd.sum() <= MOST * len(values) else np.zeros_like(odd)
