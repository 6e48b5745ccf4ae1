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
LINE = 12  # height of a line of text


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
class Gap:
    """The distance between training and tuning at one epoch.

    Args:
        x: of the upright stroke; top, bottom: its ends.
        text_x, text_y: where its words stand; anchor: and on which side of there.
    """

    x: float
    top: float
    bottom: float
    label: str
    text_x: float
    text_y: float
    anchor: str


@dataclass(frozen=True)
class Curves:
    """One number over epochs: `points` attributes of two polylines, and the axes.

    Args:
        train, tune: `x,y x,y ...`; tune is empty where there were no tuning images.
        band: points of a polygon, the interval of tune; empty where it is not known.
        best: the x of the epoch with the least tuning loss, or None.
        gap: between the two lines there, or at the last epoch where the tuning loss rises; None
            where one of them is not known.
        rises: the x from where on the tuning loss rises, or None.
    """

    train: str
    tune: str
    band: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    best: Tick | None
    gap: Gap | None
    rises: float | None


@dataclass(frozen=True)
class Square:
    """One of a hundred: its corner, whether it is filled, and whether it lies in the range."""

    x: float
    y: float
    is_filled: bool
    is_in_range: bool


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


def curves(history: Sequence[Mapping[str, Any]], since: int | None = None) -> Curves | None:
    """Training and tuning loss over epochs; None with fewer than two epochs.

    Args:
        history: `epoch`, `train_loss` and `tune_loss` (or None) of each epoch; losses that are not
            finite are left out.
        since: the epoch from which the tuning loss rises, where it does.
    """
    losses = [loss for row in history for loss in _losses(row)]
    if len(history) < 2:
        return None
    step = _step(max(losses, default=1.0))
    top = step * max(1, math.ceil(max(losses, default=1.0) / step - 1e-9))
    ticks = tuple(Tick(_up(k * step / top), f"{k * step:g}") for k in range(round(top / step) + 1))
    names = ("train_loss", "tune_loss")
    return _curves(history, names, lambda loss: _up(loss / top), ticks, lambda d: f"{d:.2f}", since)


def share_curves(history: Sequence[Mapping[str, Any]], since: int | None = None) -> Curves | None:
    """The share that is right over epochs; None with fewer than two epochs that have it.

    Args:
        history: `epoch`, and where they are known `train_accuracy`, `tune_accuracy` (in [0, 1]) and
            `tune_n`, the images of the latter, which gives the band of Wilson's interval.
        since: the epoch from which the tuning loss rises, where it does.
    """
    if sum(_is_finite(row.get("tune_accuracy")) for row in history) < 2:
        return None
    names = ("train_accuracy", "tune_accuracy")
    ticks = share_ticks()[1]
    return _curves(history, names, _up, ticks, lambda d: f"{100 * d:.0f} points", since)


def _curves(
    history: Sequence[Mapping[str, Any]],
    names: tuple[str, str],
    up: Callable[[float], float],
    ticks: tuple[Tick, ...],
    words: Callable[[float], str],
    since: int | None,
) -> Curves:
    epochs = [int(row["epoch"]) for row in history]
    first, last = min(epochs), max(epochs)
    tuned = [row for row in history if _is_finite(row.get("tune_loss"))]
    best = min(tuned, key=lambda row: row["tune_loss"], default=None)

    def x(epoch: float) -> float:
        return _across((epoch - first) / max(last - first, 1))

    def line(name: str) -> str:
        rows = [row for row in history if _is_finite(row.get(name))]
        return " ".join(f"{x(row['epoch'])},{up(row[name])}" for row in rows)

    train, tune = names
    there = best if since is None else tuned[-1]
    is_whole = there is not None and _is_finite(there.get(train)) and _is_finite(there.get(tune))
    return Curves(
        train=line(train),
        tune=line(tune),
        band=_band(history, x) if tune == "tune_accuracy" else "",
        across=_epoch_ticks(first, last, x),
        up=ticks,
        best=None if best is None else Tick(x(best["epoch"]), str(best["epoch"])),
        gap=_gap(x(there["epoch"]), there[train], there[tune], up, words)
        if there is not None and is_whole
        else None,
        rises=None if since is None else x(since),
    )


def _gap(
    x: float, train: float, tune: float, up: Callable[[float], float], words: Callable[[float], str]
) -> Gap:
    top, bottom = sorted((up(train), up(tune)))
    is_left = x > (LEFT + RIGHT) / 2  # words stand where there is more room
    text_x, anchor = (x - 6, "end") if is_left else (x + 6, "start")
    # between the lines where there is room for a line of text, else above them
    middle = (top + bottom) / 2 + 4 if bottom - top > 2 * LINE else max(top - 8, TOP + LINE)
    return Gap(x, top, bottom, f"gap {words(abs(train - tune))}", text_x, middle, anchor)


def _band(history: Sequence[Mapping[str, Any]], x: Callable[[float], float]) -> str:
    """Wilson's interval of the tuning share: along its high ends, and back along its low ones."""
    rows = [row for row in history if _is_finite(row.get("tune_accuracy")) and row.get("tune_n")]
    scores = [
        proportion(round(row["tune_accuracy"] * row["tune_n"]), row["tune_n"]) for row in rows
    ]
    there = [f"{x(row['epoch'])},{_up(s.high)}" for row, s in zip(rows, scores, strict=True)]
    back = [f"{x(row['epoch'])},{_up(s.low)}" for row, s in zip(rows, scores, strict=True)]
    return " ".join([*there, *reversed(back)])


def hundred(score: Mapping[str, Any]) -> list[Square]:
    """A share as a hundred squares, 20 a row: `value` of them filled, the range marked.

    What is not all never fills all, and what is not nothing fills one.

    >>> squares = hundred({"value": 0.913, "low": 0.857, "high": 0.949})
    >>> sum(s.is_filled for s in squares), [i for i, s in enumerate(squares) if s.is_in_range][::8]
    (91, [86, 94])
    """
    value, low, high = (_count(score[end]) for end in ("value", "low", "high"))
    return [
        Square(12.0 * (i % 20), 12.0 * (i // 20), i < value, low <= i < high) for i in range(100)
    ]


def _count(share: float) -> int:
    share = round(share, 12)  # Wilson's 30 of 30 ends at 0.9999999999999999
    return round(100 * share) if share in (0, 1) else min(99, max(1, round(100 * share)))


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
    found = (row.get("train_loss"), row.get("tune_loss"))
    return [loss for loss in found if loss is not None and math.isfinite(loss)]


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
