"""Copies that hashes miss, cropped, turned or mirrored: features propose, pixels confirm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.data.alignment import SIDE, Alignment, align, describe
from kenspeckle.data.batch import Rows, in_pieces
from kenspeckle.data.duplicates import MIN_SIDE, joined
from kenspeckle.data.fit import GREY, Fit

NEIGHBOURS = 5  # looked at for each picture; a copy cropped by 10 % was the nearest, 375 of 375
MIN_COSINE = 0.4  # to a neighbour; cropped copies have 0.70 or more, turned ones 0.33 or more
MIN_AGREEMENT = 0.95  # correlation of fine detail, laid on each other
MIN_EVENLY = 0.7  # every corner alike: 120 copies had .96 and more, shapes on noise .58 at most
MIN_OVERLAP = 0.5  # of either picture
# Two drawn circles agree wherever they are laid on each other: where a few edges hold all detail,
# the grounds must cover each other too. Of 120 flowers 12 have less spread, of 10 drawn pairs all.
MIN_SPREAD = 0.12
BARE_OVERLAP = 0.85  # a copy cropped by 5 % at a side has 0.9
MIN_CONTRAST = 1.0  # grey levels of fine detail; rounding alone makes 0.3
_CHUNK = 128  # pairs or pictures at once: what fits the processor's cache
_BLOCK = 1 << 24  # cosines at once

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Alike:
    """Two images that show the same picture, one perhaps cropped, turned or mirrored.

    Args:
        first: row of the one.
        second: row of the other, greater than `first`.
        cosine: of their features, in -1..1.
        agreement: correlation of their fine detail where they overlap, in -1..1.
        overlap: the share of the less covered one that the other shows too, in 0..1.
        turn: what makes the second lie like the first, 0..7: quarter turns against the clock,
            from 4 on after mirroring.
    """

    first: int
    second: int
    cosine: float
    agreement: float
    overlap: float
    turn: int


def alike_pairs(
    vectors: Floats, images: Rows, width: NDArray[np.int64], height: NDArray[np.int64]
) -> list[Alike]:
    """Pairs of images that are one picture: saved again, cropped, turned by 90 degrees, mirrored.

    The nearest by features are laid on each other (see `align`) and kept where their fine detail
    agrees in the part that both show. Images whose longer side is under `MIN_SIDE` pixels take no
    part, nor do those almost without detail, nor any where the network sees less than 64 pixels a
    side. Where more than `NEIGHBOURS` pictures are alike, not every pair of them is named.

    The limits were set on 375 of the 600 training images of flowers5 (drawn with seed 0) and on
    other sets; `benchmarks/near_duplicates.py` measures what is found on its test images. Shots of
    one moment are named too where they hardly differ: a sitter who holds still, a shelf.

    Args:
        vectors: (N, D) features, each of length 1.
        images: N pictures, (B, C, S, S) uint8 for rows (B,).
        width: (N,) pixels of the original.
        height: (N,) pixels of the original.
    """
    able = np.flatnonzero(np.maximum(width, height) >= MIN_SIDE)
    if len(able) < 2 or images[torch.tensor([0])].shape[-1] < SIDE:
        return []
    near = _near(vectors[able])
    if not len(near):
        return []
    rows, places = np.unique(near, return_inverse=True)
    greys = np.stack([_grey(images, int(i), int(width[i]), int(height[i])) for i in able[rows]])
    windows = np.concatenate([describe(greys[part]) for part in in_pieces(len(greys), _CHUNK)])
    pairs: list[Alike] = []
    for part in in_pieces(len(near), _CHUNK):
        a, b = places.reshape(-1, 2)[part].T
        laid = align(greys[a], greys[b], windows[a], windows[b])
        pairs += _confirmed(able[near[part]], laid, vectors)
    return pairs


def alike_groups(pairs: Iterable[Alike]) -> list[list[int]]:
    """Rows joined by pairs, ascending, as `duplicate_groups` takes them.

    >>> alike_groups([Alike(0, 2, 0.9, 0.95, 0.9, 0), Alike(2, 5, 0.9, 0.95, 0.9, 0)])
    [[0, 2, 5]]
    """
    links = [(pair.first, pair.second) for pair in pairs]
    numbers = joined(1 + max((second for _, second in links), default=-1), links)
    rows: dict[int, list[int]] = {}
    for row in sorted({row for link in links for row in link}):
        rows.setdefault(int(numbers[row]), []).append(row)
    return list(rows.values())


def _near(vectors: Floats) -> Ints:
    """(P, 2) rows of each picture and its neighbours, the lower first, ascending."""
    count = len(vectors)
    few = min(NEIGHBOURS, count - 1)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for part in in_pieces(count, max(1, _BLOCK // count)):
        own = np.arange(count)[part]
        cosines = vectors[part] @ vectors.T
        cosines[np.arange(len(own)), own] = -np.inf
        nearest = np.argpartition(-cosines, few - 1, axis=1)[:, :few]
        is_near = np.take_along_axis(cosines, nearest, axis=1) >= MIN_COSINE
        found = np.stack([np.broadcast_to(own[:, None], nearest.shape), nearest], axis=-1)[is_near]
        pairs.append(np.sort(found, axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _grey(images: Rows, row: int, width: int, height: int) -> NDArray[np.uint8]:
    """(64, 64) grey of a picture without what was padded, whatever its shape."""
    square = images[torch.tensor([row])][0].permute(1, 2, 0).contiguous().numpy()
    fit = Fit(square.shape[0], across=square.shape[1])
    wide, high = fit.inner(width, height)
    left, top = (fit.shape[1] - wide) // 2, (fit.shape[0] - high) // 2
    content = square[top : top + high, left : left + wide]
    # Whether it was padded, stretched or cropped to a square shows where padding would be.
    grey_around = (square == GREY).sum() - (content == GREY).sum()
    is_padded = grey_around == square.size - content.size
    pixels = content if is_padded else square
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("L")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.uint8)


def _confirmed(rows: Ints, laid: Alignment, vectors: Floats) -> Iterator[Alike]:
    """Those of the pairs (P, 2) that show the same picture."""
    is_same = (
        (laid.agreement >= MIN_AGREEMENT)
        & (laid.evenly >= MIN_EVENLY)
        & (laid.overlap >= np.where(laid.spread >= MIN_SPREAD, MIN_OVERLAP, BARE_OVERLAP))
        & (laid.contrast >= MIN_CONTRAST)
    )
    for at in np.flatnonzero(is_same).tolist():
        first, second = rows[at].tolist()
        yield Alike(
            first=first,
            second=second,
            cosine=float(vectors[first] @ vectors[second]),
            agreement=float(laid.agreement[at]),
            overlap=float(laid.overlap[at]),
            turn=int(laid.turn[at]),
        )
