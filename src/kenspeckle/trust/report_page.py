"""`report.html`: one page for people that needs no network and no scripts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.score import Score, proportion
from kenspeckle.trust import charts
from kenspeckle.trust.report_words import (
    SCORES,
    Title,
    clean,
    in_words,
    is_crossed,
    percent,
    times_in_100,
    unknown_words,
)

MOST_IN_GRID = 30  # classes; a grid with more is wider than any screen
MOST_LEVEL = 4  # characters; longer names stand upright above the grid's columns
MOST_CONFUSIONS = 15  # listed instead of a grid
MOST_PATHS = 20  # files shown of one finding; data_issues.csv has all
THUMBNAIL = 160  # pixels a side
SMALL = 64  # pixels; up to here a picture is stored without loss and its pixels shown as squares
FACTS = {
    "name": "Network",
    "frozen": "Fixed features",
    "head": "Head",
    "head_words": "What the head is",
    "image_size": "Image size (pixels)",
    "precision": "Number format",
    "temperature": "Temperature of the probabilities",
    "weights_sha256": "SHA-256 of the network's weights",
    "gradients": "Gradients at the start",
    "verdict": "Gradients, in a word",
}

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Confusion:
    """One class taken for another: how often, of how many images of the true class."""

    true: str
    said: str
    count: int
    n: int


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI, its size in pixels, and whether its pixels are shown as squares."""

    uri: str
    width: int
    height: int
    is_small: bool


def page(report: Mapping[str, Any], pictures: Mapping[str, Picture]) -> str:
    """The whole page as HTML; every name in it is escaped.

    Args:
        report: as `write_report` takes it.
        pictures: path of a mistaken image -> its pixels (H, W, 1 or 3).
    """
    surroundings = Environment(
        loader=PackageLoader("kenspeckle.trust", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    surroundings.filters |= {"percent": percent, "times_in_100": times_in_100}
    names = [row["class"] for row in report["classes"]]
    across, up = charts.share_ticks()
    html = surroundings.get_template("report.html.jinja").render(
        report=report,
        names=names,
        parts=_parts(report),
        scores=_score_rows(report["scores"]),
        is_turned=any(len(name) > MOST_LEVEL for name in names),
        grid=_grid(report["confusion"]) if len(names) <= MOST_IN_GRID else None,
        confusions=most_confused(report["confusion"], names)[:MOST_CONFUSIONS],
        bins=charts.reliability_bins(report["reliability"], report["measured"]["n"]),
        share_across=across,
        share_up=up,
        curves=charts.curves(report["history"]),
        frame=charts,
        tried=_tried(report),
        mistakes=[(m, thumbnail(pictures.get(m["path"]))) for m in report["mistakes"]],
        wrong=_wrong(report["confusion"]),
        unknown=unknown_words(report["unknown"]),
        facts=_facts(report["model"]),
        most_paths=MOST_PATHS,
    )
    return clean(html)


def most_confused(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[Confusion]:
    """Every confusion that happened, the most frequent first.

    Args:
        counts: (K, K); row is the true class, column the class said.

    >>> most_confused([[5, 1], [0, 2]], ["a", "b"])
    [Confusion(true='a', said='b', count=1, n=6)]
    """
    happened = [
        Confusion(names[true], names[said], count, sum(row))
        for true, row in enumerate(counts)
        for said, count in enumerate(row)
        if count and true != said
    ]
    return sorted(happened, key=lambda confusion: -confusion.count)


def thumbnail(picture: Picture | None) -> Thumbnail | None:
    """A picture (H, W, 1 or 3) of at most 160 pixels a side; None stays None."""
    if picture is None:
        return None
    pixels = picture[..., 0] if picture.shape[2] == 1 else picture
    image = Image.fromarray(np.ascontiguousarray(pixels))
    is_small = max(image.size) <= SMALL
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    if is_small:
        image.save(content, "PNG", optimize=True)
    else:
        image.save(content, "JPEG", quality=85)
    kind = "png" if is_small else "jpeg"
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/{kind};base64,{text}", *image.size, is_small)


def _score_rows(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name, score in scores.items():
        title = SCORES.get(name, Title(name, "", False))
        said = {end: in_words(name, score[end]) for end in ("value", "low", "high")}
        about = {"name": name, "title": title, "n": score["n"], "method": score["method"]}
        rows.append({**about, **said})
    return rows


def _parts(report: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Name, number of images and purpose of each part that holds any."""
    learned = "the model learned from them"
    if is_crossed(report["measured"]):
        learned += "; each was also answered once by a model that had not seen it, to measure"
    parts = (
        ("train", learned),
        ("val", "they told when to stop"),
        ("test", "kept apart, to measure on"),
        ("left_out", "in no part"),
    )
    split = report["split"]
    return [
        (name.replace("_", " "), split[name], purpose) for name, purpose in parts if split[name]
    ]


def _grid(counts: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """(count, share of the row in [0, 1]) of every cell."""
    return [[(count, round(count / max(sum(row), 1), 3)) for count in row] for row in counts]


def _wrong(counts: Sequence[Sequence[int]]) -> int:
    return sum(sum(row) for row in counts) - sum(row[k] for k, row in enumerate(counts))


def _tried(report: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Score]]:
    """What was compared, each with the interval of its out-of-fold accuracy."""
    n = report["split"]["train"]
    return [(row, proportion(round(row["accuracy"] * n), n)) for row in report["tried"]]


def _facts(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the model: a title and its value in words, named facts first."""
    order = [name for name in FACTS if name in model] + [n for n in model if n not in FACTS]
    return [(FACTS.get(name, name), _fact(model[name])) for name in order]


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
