"""Where the marks of a report's charts go: numbers in, SVG coordinates out; the page draws them.

Charts are SVG that the browser draws, so that names in any script can stand in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kenspeckle.score import Score, proportion

WIDTH, HEIGHT = 360, 260  # of the view box; text of 12 units is 11 px on a narrow telephone
LEFT, RIGHT, TOP, BOTTOM = 48, 336, 12, 212  # of the plot inside it


@dataclass(frozen=True)
class Tick:
    """A place on an axis (SVG units) and what stands there."""

    at: float
    label: str


@dataclass(frozen=True)
class Bin:
    """Images whose stated probability is alike.

    Args:
        x, y: centre of the mark; radius: its area is as the share of images.
        top, bottom: ends of the interval of the share that is right.
        said: mean stated probability, in [0, 1].
        right: the share that is right, with Wilson's interval.
    """

    x: float
    y: float
    radius: float
    top: float
    bottom: float
    said: float
    right: Score


@dataclass(frozen=True)
class Curves:
    """Losses over epochs: `points` attributes of two polylines, and the axes.

    Args:
        train, tune: `x,y x,y ...`; tune is empty where there were no tuning images.
        best: the x of the epoch with the least tuning loss, or None.
    """

    train: str
    tune: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    best: Tick | None


def reliability_bins(rows: Sequence[Sequence[float]], n: int) -> list[Bin]:
    """Marks of a reliability diagram, both axes from 0 to 1.

    Args:
        rows: share of images, mean stated probability and share right, one a bin.
        n: images in all bins.

    Source: DeGroot and Fienberg 1983, The Statistician 32(1); intervals are ours.

    >>> (mark,) = reliability_bins([(1.0, 0.5, 0.5)], 10)
    >>> mark.x, mark.y
    (192.0, 112.0)
    """
    marks = []
    for share, said, right in rows:
        count = max(1, round(share * n))
        score = proportion(round(right * count), count)
        marks.append(
            Bin(
                x=_across(said),
                y=_up(score.value),
                radius=round(3 + 7 * math.sqrt(share), 1),
                top=_up(score.high),
                bottom=_up(score.low),
                said=said,
                right=score,
            )
        )
    return marks


def curves(history: Sequence[Mapping[str, Any]]) -> Curves | None:
    """Training and tuning loss over epochs; None with fewer than two epochs.

    Args:
        history: `epoch`, `train_loss` and `tune_loss` (or None) of each epoch; losses that are not
            finite are left out.
    """
    if len(history) < 2:
        return None
    epochs = [int(row["epoch"]) for row in history]
    first, last = min(epochs), max(epochs)
    losses = [loss for row in history for loss in _losses(row)]
    step = _step(max(losses, default=1.0))
    top = step * max(1, math.ceil(max(losses, default=1.0) / step - 1e-9))
    tuned = [row for row in history if _is_finite(row["tune_loss"])]
    best = min(tuned, key=lambda row: row["tune_loss"], default=None)

    def x(epoch: float) -> float:
        return _across((epoch - first) / max(last - first, 1))

    def line(name: str) -> str:
        rows = [row for row in history if _is_finite(row[name])]
        return " ".join(f"{x(row['epoch'])},{_up(row[name] / top)}" for row in rows)

    return Curves(
        train=line("train_loss"),
        tune=line("tune_loss"),
        across=_epoch_ticks(first, last, x),
        up=tuple(Tick(_up(k * step / top), f"{k * step:g}") for k in range(round(top / step) + 1)),
        best=None if best is None else Tick(x(best["epoch"]), str(best["epoch"])),
    )


def share_ticks() -> tuple[tuple[Tick, ...], tuple[Tick, ...]]:
    """Ticks at 0, 25, ... 100 % across and up."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    across = tuple(Tick(_across(share), f"{100 * share:.0f} %") for share in shares)
    return across, tuple(Tick(_up(share), f"{100 * share:.0f} %") for share in shares)


def _across(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _up(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def _is_finite(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _losses(row: Mapping[str, Any]) -> list[float]:
    return [loss for loss in (row["train_loss"], row["tune_loss"]) if _is_finite(loss)]


def _step(top: float) -> float:
    """A round distance between ticks so that 3 to 6 of them reach `top`.

    >>> _step(2.3), _step(0.07), _step(11.0)
    (0.5, 0.02, 5.0)
    """
    if top < 1e-9:  # nothing to see: an axis from 0 to 1
        return 1.0
    size = 10.0 ** math.floor(math.log10(top))
    steps = (size * part for part in (0.1, 0.2, 0.5, 1.0, 2.0))
    return next(step for step in steps if top / step <= 5)


def _epoch_ticks(first: int, last: int, x: Callable[[float], float]) -> tuple[Tick, ...]:
    distance = max(1, math.ceil(_step(float(last - first))))
    return tuple(Tick(x(epoch), str(epoch)) for epoch in range(first, last + 1, distance))
