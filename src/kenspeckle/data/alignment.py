"""How one small picture lies on another: turned, mirrored, shifted and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SIDE = 64  # pixels a side of the pictures that are aligned
TURNS = 8  # quarter turns 0 to 3 against the clock, then the same of the mirrored picture
_CELLS = 8  # a side of a window's description
# The whole picture, its middle and its corners: scale, then x and y of the centre, in half sides.
# A crop of 5 to 25 % lies near enough to one of them for the search to close in.
_WINDOWS = np.array(
    [(1, 0, 0), (0.85, 0, 0)] + [(0.85, x, y) for y in (-0.15, 0.15) for x in (-0.15, 0.15)],
    dtype=np.float32,
)
# What a pair must reach to go on is far below all copies cropped by 5 % (of 375 the lowest reached
# 0.91, 0.92 and 0.91) and above most others (of 1467 neighbours 70, 20 and 3 % go on).
_MIN_START = 0.6
_BY_SHAPES = ((SIDE // 4, 6, 0.85), (SIDE // 2, 5, 0.85))  # pixels a side, rounds, what to reach
_BY_DETAIL = ((SIDE // 2, 4), (SIDE, 4))  # pixels a side, rounds
_LARGEST_STEP = 0.15  # of a half side, in one round
_LOW = np.array([0.5, -0.6, 0.5, -0.6], dtype=np.float32)  # bounds of a placement
_HIGH = np.array([2.0, 0.6, 2.0, 0.6], dtype=np.float32)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_Squares = TypeVar("_Squares", Floats, Ints)


@dataclass(frozen=True)
class Alignment:
    """How well B pairs of pictures agree once the second is laid on the first.

    Args:
        turn: (B,) what was done to the second, 0..7: quarter turns against the clock, from 4 on
            after mirroring.
        agreement: (B,) correlation of the fine detail where they overlap, in -1..1; -1 where
            the search was given up.
        overlap: (B,) the share of the picture that is less covered, in 0..1.
        spread: (B,) how evenly the detail lies over the picture, of the less even one: 1 over the
            mean fourth power of detail with deviation 1. A third where it is everywhere alike, near
            0 where a few edges on a flat ground hold all of it.
        evenly: (B,) the agreement, with detail made as strong in every corner of the picture: high
            only where all of it agrees, not one bright shape alone.
        contrast: (B,) standard deviation of the fine detail, in grey levels, of the fainter one.
    """

    turn: Ints
    agreement: Floats
    overlap: Floats
    contrast: Floats
    spread: Floats
    evenly: Floats


def describe(greys: NDArray[np.uint8]) -> Floats:
    """(M, 6, 64): (M, 64, 64) pictures, whole and in five windows, as 8 x 8 cells.

    Each description has mean 0 and length 1, so that a product of two is their correlation.
    """
    small = _halved(_blurred(_halved(_blurred(greys.astype(np.float32)))))
    placed = [np.tile([s, x, s, y], (len(small), 1)).astype(np.float32) for s, x, y in _WINDOWS]
    seen = np.stack([_halved(_laid(_blurred(small), where)[0]) for where in placed], axis=1)
    cells = seen.reshape(len(small), len(_WINDOWS), _CELLS**2)
    cells = cells - cells.mean(axis=2, keepdims=True)
    return cells / np.sqrt((cells * cells).sum(axis=2, keepdims=True) + np.float32(1e-3))


def align(
    fixed: NDArray[np.uint8],
    moving: NDArray[np.uint8],
    fixed_windows: Floats,
    moving_windows: Floats,
) -> Alignment:
    """Lay each of B pictures on its partner, by turn, mirror, shift and scale along each axis.

    The best of 8 turns and 36 pairs of windows is where the search begins; Gauss-Newton steps at
    16, 32 and 64 pixels refine it, and pairs that fall behind are given up on the way. Brightness
    and contrast do not count.

    Args:
        fixed: (B, 64, 64) grey.
        moving: (B, 64, 64) grey.
        fixed_windows: (B, 6, 64) from `describe`.
        moving_windows: (B, 6, 64) from `describe`.

    Source: Lucas and Kanade 1981, IJCAI, with normalised images as Evangelidis and Psarakis 2008,
    doi:10.1109/TPAMI.2008.113.
    """
    turn, where, live = _start(fixed_windows, moving_windows)
    first, second = fixed[live].astype(np.float32), moving[live].astype(np.float32)
    for k in range(1, TURNS):
        is_so = turn[live] == k
        second[is_so] = _turned(second[is_so], k)
    for side, rounds, least in _BY_SHAPES:
        where, alike = _refined(_shrunk(first, side), _shrunk(second, side), where, rounds)
        on = alike > least
        live, where, first, second = live[on], where[on], first[on], second[on]
    # Large shapes place a landscape to a few pixels only; its detail does the rest.
    for side, rounds in _BY_DETAIL:
        fine = _detail(_shrunk(first, side)), _detail(_shrunk(second, side))
        where, _ = _refined(*fine, where, rounds)
    measured = np.tile(np.array([-1, 0, 0, 0, 0], dtype=np.float32), (len(fixed), 1))
    measured[live] = np.stack(_compared(first, second, where), axis=1)
    return Alignment(turn, *measured.T)


def _turned(squares: _Squares, turn: int) -> _Squares:
    """Squares turned by `turn` quarters against the clock; from 4 on, mirrored before."""
    seen = squares[..., ::-1] if turn >= TURNS // 2 else squares
    return np.rot90(seen, turn % 4, axes=(-2, -1))


def _turned_centre(x: float, y: float, turn: int) -> tuple[float, float]:
    """Where a point (x to the right, y down, from the middle) goes with `_turned`."""
    if turn >= TURNS // 2:
        x = -x
    for _ in range(turn % 4):
        x, y = y, -x
    return x, y


_PLACES = np.arange(_CELLS**2, dtype=np.int64).reshape(_CELLS, _CELLS)
_CELL_ORDERS = np.stack([_turned(_PLACES, k).ravel() for k in range(TURNS)])
_CENTRES = np.array(
    [[_turned_centre(x, y, turn) for turn in range(TURNS)] for _, x, y in _WINDOWS.tolist()],
    dtype=np.float32,
)  # (6, 8, 2)


def _start(first: Floats, second: Floats) -> tuple[Ints, Floats, Ints]:
    """(B,) turns; then, of the pairs worth going on with, (L, 4) placements and (L,) numbers."""
    count, windows = len(first), len(_WINDOWS)
    choices = second[:, :, _CELL_ORDERS].reshape(count, windows * TURNS, -1)
    alike = (first @ choices.transpose(0, 2, 1)).reshape(count, -1)
    best = alike.argmax(axis=1)
    own, other = np.divmod(best, windows * TURNS)
    other, turn = np.divmod(other, TURNS)
    scale = _WINDOWS[other, 0] / _WINDOWS[own, 0]
    shift = _CENTRES[other, turn] - scale[:, None] * _WINDOWS[own, 1:]
    where = np.stack([scale, shift[:, 0], scale, shift[:, 1]], axis=1)
    live = np.flatnonzero(alike[np.arange(count), best] > _MIN_START)
    return turn, where[live], live


def _refined(first: Floats, second: Floats, where: Floats, rounds: int) -> tuple[Floats, Floats]:
    """(B, 4) placements after Gauss-Newton steps, and (B,) the correlation there.

    A placement (sx, tx, sy, ty) says that the point x, y of the first, in half sides from the
    middle, shows what the second shows at sx x + tx, sy y + ty.
    """
    side = first.shape[1]
    at = _centres(side)
    eye = np.eye(4, dtype=np.float32)
    for _ in range(rounds):
        laid, inside = _laid(second, where)
        a, b = _normalised(first, inside)[0], _normalised(laid, inside)[0]
        across, down = _slopes((a + b) * np.float32(side / 4), inside)
        slopes = np.stack([across * at, across, down * at[:, None], down], axis=1)
        slopes = slopes.reshape(-1, 4, side * side)
        square = slopes @ slopes.transpose(0, 2, 1)
        trace = np.trace(square, axis1=1, axis2=2)[:, None, None]
        # The thousandth holds still what has no slope, such as stripes along themselves.
        square += (np.float32(1e-3) * trace + np.float32(1e-6)) * eye
        step = np.linalg.solve(square, slopes @ (a - b).reshape(-1, side * side, 1))[..., 0]
        where = np.clip(where + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP), _LOW, _HIGH)
    laid, inside = _laid(second, where)
    return where, _correlation(first, laid, inside)


def _compared(first: Floats, second: Floats, where: Floats) -> tuple[Floats, ...]:
    """Agreement, overlap, contrast, spread, evenly of pairs that lie as `where` says."""
    laid, inside = _laid(second, where)
    fine = _detail(first), _detail(laid)
    a, faint = _normalised(fine[0], inside)
    b, other = _normalised(fine[1], inside)
    agreement = (a * b).sum(axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)), 1)
    evenly = _correlation(_evened(fine[0]), _evened(fine[1]), inside)
    overlap = inside.mean(axis=(1, 2)) * np.minimum(1, where[:, 0] * where[:, 2])
    fourth = np.maximum((a**4).sum(axis=(1, 2)), (b**4).sum(axis=(1, 2)))
    spread = inside.sum(axis=(1, 2)) / np.maximum(fourth, 1e-6)
    return agreement, overlap, np.minimum(faint, other), spread, evenly


def _evened(detail: Floats) -> Floats:
    """Detail as strong in every corner of the picture; what is under a grey level stays faint."""
    power = detail * detail
    for _ in range(4):
        power = _blurred(power)
    return detail / np.sqrt(power + 1)


def _detail(greys: Floats) -> Floats:
    """What is finer than about 4 pixels and coarser than 1: what two pictures seldom share."""
    near = _blurred(greys)
    return near - _blurred(_blurred(_blurred(near)))


def _shrunk(greys: Floats, side: int) -> Floats:
    """(B, side, side), blurred before each halving and, where halved twice, after it."""
    small = greys
    while small.shape[1] > side:
        small = _halved(_blurred(small))
    return small if side > SIDE // 4 else _blurred(small)


def _halved(greys: Floats) -> Floats:
    """The means of 2 x 2 cells."""
    count, side = greys.shape[:2]
    return greys.reshape(count, side // 2, 2, side // 2, 2).mean(axis=(2, 4))


def _blurred(greys: Floats) -> Floats:
    """Each pixel with its neighbours, weights 1 2 1 along both axes."""
    for axis in (1, 2):
        edge = [(1, 1) if i == axis else (0, 0) for i in range(3)]
        wide = np.pad(greys, edge, mode="edge").swapaxes(1, axis)
        mixed = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) * np.float32(0.25)
        greys = mixed.swapaxes(1, axis)
    return greys


def _slopes(greys: Floats, inside: Floats) -> tuple[Floats, Floats]:
    """Central differences across and down, 0 at the border and outside."""
    across, down = np.zeros_like(greys), np.zeros_like(greys)
    across[:, :, 1:-1] = (greys[:, :, 2:] - greys[:, :, :-2]) / 2
    down[:, 1:-1] = (greys[:, 2:] - greys[:, :-2]) / 2
    return across * inside, down * inside


def _centres(side: int) -> Floats:
    """The pixels' centres along one side, in half sides from the middle."""
    return ((np.arange(side, dtype=np.float32) + np.float32(0.5)) * 2 / side - 1).astype(np.float32)


def _laid(greys: Floats, where: Floats) -> tuple[Floats, Floats]:
    """(B, n, n) pictures as their partners see them (bilinear), and 1 where they reach, else 0."""
    side = greys.shape[1]

    def along(scale: Floats, shift: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        at = (scale[:, None] * _centres(side) + shift[:, None] + 1) * np.float32(side / 2)
        at -= np.float32(0.5)
        inside = (at >= -0.5) & (at <= side - 0.5)
        apart = np.clip(at, 0, side - 1)[:, :, None] - np.arange(side, dtype=np.float32)
        return np.maximum(0, 1 - np.abs(apart)), inside

    columns, has_x = along(where[:, 0], where[:, 1])
    rows, has_y = along(where[:, 2], where[:, 3])
    inside = (has_y[:, :, None] & has_x[:, None, :]).astype(np.float32)
    laid: Floats = np.matmul(np.matmul(rows, greys), columns.transpose(0, 2, 1))
    return laid, inside


def _normalised(greys: Floats, inside: Floats) -> tuple[Floats, Floats]:
    """Mean 0 and deviation 1 inside, 0 outside; and (B,) the deviations before."""
    number = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
    centred = (greys - (greys * inside).sum(axis=(1, 2), keepdims=True) / number) * inside
    variance = (centred * centred).sum(axis=(1, 2), keepdims=True) / number
    deviation = np.sqrt(variance + np.float32(1e-3))
    return centred / deviation, deviation[:, 0, 0]


def _correlation(first: Floats, second: Floats, inside: Floats) -> Floats:
    a, b = _normalised(first, inside)[0], _normalised(second, inside)[0]
    return (a * b).sum(axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)), 1)
