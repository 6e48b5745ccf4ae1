"""Whether an image is unlike everything in training, so that no class should be claimed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kenspeckle.answer import Answer
from kenspeckle.models.vectors import unit

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Familiar:
    """The training images' vectors and how far from them an image may lie.

    The distance is 1 - cosine to the nearest training vector: never softmax confidence, which is
    high far from all data (AUROC .69 to .84 against .91 to .93, TRUST 2.4).

    Args:
        vectors: (N, D), each of length 1.
        threshold: above this an image is unknown; infinite when there were too few to set one.
        reference: (M,) sorted distances of held-out images of the user's own.

    Source: Sun et al. 2022, arXiv:2204.06507 (nearest neighbours on unit vectors).
    """

    vectors: Floats
    threshold: float
    reference: Floats

    def distances(self, vectors: Floats) -> Floats:
        """(M,) distances in [0, 2] of unit vectors (M, D)."""
        pieces = np.array_split(vectors, max(1, len(vectors) // 1024))
        return np.concatenate([1 - (piece @ self.vectors.T).max(1) for piece in pieces])

    def nearest(self, vectors: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """The rows of the `count` nearest training images and their cosines, nearest first."""
        count = min(count, len(self.vectors))
        rows, cosines = [], []
        for piece in np.array_split(vectors, max(1, len(vectors) // 1024)):
            alike = piece @ self.vectors.T
            order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
            rows.append(order)
            cosines.append(np.take_along_axis(alike, order, 1))
        return np.concatenate(rows), np.concatenate(cosines)


SMALLEST = 1e-6  # threshold where all held-out images are copies: float32 rounding is 1e-7
FEWEST = 20  # held-out images: with fewer, a 95 % quantile is the largest one or two


def fit_familiar(vectors: Floats, folds: NDArray[np.int64], refused_share: float) -> Familiar:
    """Set the threshold from images measured against those of other folds only.

    Args:
        vectors: (N, D) of training images, any length.
        folds: (N,) fold of each: duplicates and groups share one.
        refused_share: how many of the user's own images may be refused, in [0, 1).
    """
    vectors = unit(vectors)
    held_out = np.zeros(len(vectors), np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        if inside.all():
            return Familiar(vectors, float("inf"), np.zeros(0, np.float32))
        held_out[inside] = Familiar(vectors[~inside], 0.0, held_out[:0]).distances(vectors[inside])
    return familiar_from(vectors, held_out, refused_share)


def familiar_from(vectors: Floats, held_out: Floats, refused_share: float) -> Familiar:
    """The threshold that refuses `refused_share` of images whose distances are `held_out`."""
    reference = np.sort(held_out)
    threshold = float("inf")
    if len(reference) >= FEWEST:
        threshold = max(SMALLEST, float(np.quantile(reference, 1 - refused_share)))
    return Familiar(vectors, threshold, reference)


def refuse_unknown(answers: list[Answer], distances: Floats, threshold: float) -> list[Answer]:
    """The answers, with those beyond the threshold turned into `unknown`."""
    told = []
    for answer, distance in zip(answers, distances, strict=True):
        ratio = max(0.0, float(distance)) / max(threshold, SMALLEST)
        if ratio <= 1:
            told.append(replace(answer, distance=ratio))
            continue
        words = answer.words  # of an answer that claims nothing
        if answer.label is not None:
            words = (
                f"unknown: unlike the training images (the nearest class would be {answer.label})"
            )
        told.append(replace(answer, distance=ratio, unknown=True, label=None, words=words))
    return told
