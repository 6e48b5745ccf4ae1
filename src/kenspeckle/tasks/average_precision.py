"""How well boxes were found: average precision, precision, recall and how many were miscounted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.boxes import Box, iou
from kenspeckle.score import Score, bootstrap, proportion

OVERLAP = 0.5  # from which on a box counts as found: the rule of PASCAL VOC

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Boxes = Sequence[Sequence[Box]]


@dataclass(frozen=True)
class Matches:
    """Which boxes of one class are right, in N images; the order is that of the ranking.

    Args:
        scores: (D,) of what was said, falling.
        hits: (D,) whether it found a true box.
        images: (D,) the image each was said of.
        true: (N,) how many true boxes each image has.
    """

    scores: Floats
    hits: NDArray[np.bool_]
    images: Ints
    true: Ints

    def average_precision(self, times: Ints) -> float:
        """The area under precision over recall, each image counted `times` (N,) over.

        Precision at a recall is the best at this or a higher one; nan without true boxes.
        """
        total = int(times @ self.true)
        if not total:
            return float("nan")
        counted = times[self.images]
        found = counted * self.hits
        precision = np.cumsum(found) / np.maximum(np.cumsum(counted), 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        return float(best @ found) / total

    def at(self, threshold: float) -> tuple[Ints, Ints]:
        """(N,) how many boxes were said with at least this score, and how many of them are right.

        A box's match does not depend on those with lower scores, so leaving them out is exact.
        """
        is_said = self.scores >= threshold
        n = len(self.true)
        said = np.bincount(self.images[is_said], minlength=n)
        return said, np.bincount(self.images[is_said & self.hits], minlength=n)


def matches(said: Boxes, true: Boxes, name: str, overlap: float = OVERLAP) -> Matches:
    """What was said of one class, matched with the truth image by image.

    The surest box goes first and takes the true box it overlaps most, of those not yet taken, if
    the overlap is large enough; each true box is taken once. Of equal scores the wrong ones rank
    first.

    Args:
        said, true: the boxes of N images, any order.
    """
    scores, hits, images = [], [], []
    for row, (claimed, real) in enumerate(zip(said, true, strict=True)):
        ranked = sorted((b for b in claimed if b.name == name), key=lambda b: -b.score)
        scores += [box.score for box in ranked]
        hits += _hits(_corners(ranked), _corners([b for b in real if b.name == name]), overlap)
        images += [row] * len(ranked)
    score, hit = np.array(scores, float), np.array(hits, bool)
    order = np.lexsort((hit, -score))
    count = np.array([sum(b.name == name for b in real) for real in true], np.int64)
    return Matches(score[order], hit[order], np.array(images, np.int64)[order], count)


def _corners(boxes: Sequence[Box]) -> Floats:
    return np.array([box.corners() for box in boxes], float).reshape(-1, 4)


def _hits(said: Floats, true: Floats, overlap: float) -> list[bool]:
    """Whether each box of one image, surest first, finds a true box that none before it took."""
    if not len(true):
        return [False] * len(said)
    shares = iou(said, true)
    hits = []
    for row in range(len(said)):
        best = int(shares[row].argmax())
        hits.append(bool(shares[row, best] >= overlap))
        if hits[-1]:
            shares[:, best] = -1.0
    return hits


def average_precision(said: Boxes, true: Boxes, name: str, overlap: float = OVERLAP) -> float:
    """The area under precision over recall for one class, in [0, 1]; nan without true boxes.

    Args:
        said: what was found in N images; all of it, however unsure.
        true: what is there.
        name: the class.
        overlap: from which `iou` on a box is found.

    Source: Everingham et al. 2015, The PASCAL VOC challenge: a retrospective, IJCV 111, section
    2.2 (all points, since 2010). A second box on a thing is wrong, as there.

    >>> one, other = Box("a", 0, 0, 9, 9, 0.9), Box("a", 50, 50, 60, 60, 0.8)
    >>> average_precision([[one, other]], [[other]], "a")
    0.5
    """
    return matches(said, true, name, overlap).average_precision(np.ones(len(true), np.int64))


def mean_average_precision(
    said: Boxes, true: Boxes, names: Sequence[str], overlap: float = OVERLAP
) -> float:
    """The mean of `average_precision` over the classes that occur; nan where none does."""
    areas = np.array([average_precision(said, true, name, overlap) for name in names])
    return _mean(areas)


def best_threshold(said: Boxes, true: Boxes, names: Sequence[str]) -> float:
    """The score from which on to say a box, with the best F1 over all classes, on held-out images.

    It lies half-way between two scores; one half where nothing is right.

    >>> sure, unsure = Box("a", 0, 0, 9, 9, 0.8), Box("a", 50, 50, 60, 60, 0.4)
    >>> round(best_threshold([[sure, unsure]], [[sure]], ["a"]), 3)
    0.6
    """
    every = [matches(said, true, name) for name in names]
    scores = np.concatenate([m.scores for m in every])
    hits = np.concatenate([m.hits for m in every])
    if not hits.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(hits[order])
    total = sum(int(m.true.sum()) for m in every)
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + total)
    below = np.append(scores[1:], scores[-1] / 2)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # a threshold cannot part equal scores
    best = int(f1.argmax())
    return float(scores[best] + below[best]) / 2


def detection_scores(
    said: Boxes,
    true: Boxes,
    names: Sequence[str],
    groups: Sequence[Hashable] | None = None,
    *,
    threshold: float = 0.5,
) -> dict[str, Score]:
    """How well the boxes of N images were found, each score with a bootstrap over images or groups.

    `average_precision_50_score`: the mean of `average_precision` over classes that occur, of all
    that was said. Of what was said with at least `threshold`: `precision_score`, the share that is
    right, `recall_score`, the share of true boxes found, all classes together, and
    `counting_error`, by how many boxes an image is miscounted: the mean over images of the sum over
    classes of |said - true|. Where nothing is there, or nothing said, what has no value is left
    out.

    Args:
        said: with all the unsure boxes, down to a score near 0, or average precision is too low.
        true: boxes whose class is not among `names` count for nothing, here and above.
        groups: N labels of what belongs together.
        threshold: chosen on other images, as by `best_threshold`.

    Raises:
        EmptyDataset: N is 0.
    """
    every = [matches(said, true, name) for name in names]
    n = len(true)
    at = [m.at(threshold) for m in every]
    there = np.stack([m.true for m in every])  # (K, N), as the two below
    claimed, right = np.stack([a for a, _ in at]), np.stack([b for _, b in at])

    def over_classes(drawn: NDArray[np.intp]) -> float:
        times = np.bincount(drawn, minlength=n)
        return _mean(np.array([m.average_precision(times) for m in every]))

    miscounted = np.abs(claimed - there).sum(0)
    scores = {}
    if there.any():
        scores["average_precision_50_score"] = _honest(bootstrap(over_classes, n, groups))
    if claimed.any():
        scores["precision_score"] = _share(right.sum(0), claimed.sum(0), groups)
    if there.any():
        scores["recall_score"] = _share(right.sum(0), there.sum(0), groups)
    scores["counting_error"] = bootstrap(lambda d: float(miscounted[d].mean()), n, groups)
    return scores


def _share(part: Ints, whole: Ints, groups: Sequence[Hashable] | None) -> Score:
    """The sum of (N,) parts over the sum of (N,) wholes; draws without a whole have no value."""

    def statistic(rows: NDArray[np.intp]) -> float:
        total = whole[rows].sum()
        return float(part[rows].sum() / total) if total else float("nan")

    return _honest(bootstrap(statistic, len(part), groups))


def _honest(score: Score) -> Score:
    """The score; where all is right or wrong, a bootstrap has no width, and Wilson's has."""
    if score.value not in (0.0, 1.0):
        return score
    return replace(proportion(round(score.value * score.n), score.n), method="Wilson")


def _mean(values: Floats) -> float:
    """Of those that are numbers; nan where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
