"""`confusion_matrix.png`: which classes are taken for which, as a picture to paste elsewhere."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Container, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_WITH_COUNTS = 20  # classes; beyond, a count no longer fits its cell
MOST_WITH_NAMES = 100  # classes; beyond, names overlap at any size that opens
LONGEST_NAME = 28  # characters
FONT = "DejaVu Sans"  # comes with matplotlib


def confusion_png(counts: Sequence[Sequence[int]], names: Sequence[str]) -> bytes:
    """PNG bytes of a confusion matrix: shade is the share of the true class, text the count.

    A name whose letters the packaged font cannot draw is replaced by the class's number.

    Args:
        counts: (K, K) images; row is the true class, column the class said.
        names: K class names.
    """
    matrix = np.asarray(counts, dtype=float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.45 * len(names), 4, 18))  # inches
    figure = Figure(figsize=(side + 0.8, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set_xlabel("class said")
    axes.set_ylabel("true class")
    _name_axes(axes, names)
    if len(names) <= MOST_WITH_COUNTS:
        _write_counts(axes, matrix, shares)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _name_axes(axes: Axes, names: Sequence[str]) -> None:
    places = range(len(names)) if len(names) <= MOST_WITH_NAMES else []
    letters = get_font(findfont(FONT)).get_charmap()
    labels = [_drawable(names[k], k, letters) for k in places]
    size = float(np.clip(260 / max(len(names), 1), 6, 10))
    for axis, turned in ((axes.xaxis, 90), (axes.yaxis, 0)):
        axis.set_ticks(list(places), labels=labels, fontsize=size, family=FONT)
        for label in axis.get_ticklabels():
            label.set_parse_math(False)  # a dollar in a class name is a dollar
            label.set_rotation(turned)


def _drawable(name: str, k: int, letters: Container[int]) -> str:
    drawn = all(ord(letter) in letters and not _runs_leftwards(letter) for letter in name)
    if not name.isprintable() or not drawn:
        return f"class {k + 1}"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _runs_leftwards(letter: str) -> bool:
    """Hebrew, Arabic and the like, which matplotlib would draw in the wrong order."""
    return unicodedata.bidirectional(letter) in ("R", "AL")


def _write_counts(axes: Axes, matrix: Floats, shares: Floats) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=ink, fontsize=9)
