"""How numbers are said to a person: shares, scores, ranges, and what they were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEW = 30  # images or groups; below this Wilson's interval spans 30 points and more


@dataclass(frozen=True)
class Title:
    """How one score is said to a person.

    Args:
        title: its name in plain words.
        meaning: what it says, and which way is good.
        is_share: told in per cent, else as a plain number.
    """

    title: str
    meaning: str
    is_share: bool


@dataclass(frozen=True)
class Table:
    """Rows that a task adds to its report.

    Args:
        title: the heading.
        intro: what the columns mean, in plain sentences.
        head: names of the columns; the first names the rows.
        rows: cells as text.
    """

    title: str
    intro: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def clean(text: str) -> str:
    """The text as valid Unicode: bytes of a file name that are no UTF-8 become `\ufffd`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def times_in_100(share: float) -> str:
    """A share in [0, 1] as a count in 100; what is not all is never said to be 100.

    >>> times_in_100(0.867), times_in_100(0.998), times_in_100(1.0), times_in_100(0.99996)
    ('87', '99.8', '100', '99.9')
    """
    share = _snapped(share)
    if share in (0, 1) or 0.01 <= share <= 0.99:
        return f"{100 * share:.0f}"
    return f"{min(99.9, max(0.1, 100 * share)):.1f}"


def percent(share: float) -> str:
    """A share in [0, 1] -> `86.7 %`; what is not all is never `100.0 %`.

    >>> percent(0.8667), percent(0.99999), percent(1.0)
    ('86.7 %', '99.9 %', '100.0 %')
    """
    share = _snapped(share)
    return f"{100 * share if share in (0, 1) else min(99.9, max(0.1, 100 * share)):.1f} %"


def points(difference: float) -> str:
    """A difference of shares in points.

    >>> points(0.0871), points(-0.012), points(-0.0001)
    ('8.7', '-1.2', '0.0')
    """
    return f"{round(100 * difference, 1) + 0.0:.1f}"


def seconds(time: float) -> str:
    """A time in the unit that people would use.

    >>> seconds(0.42), seconds(75.2), seconds(5400)
    ('0.4 s', '75 s', '90 min')
    """
    if time < 10:
        return f"{time:.1f} s"
    return f"{time:.0f} s" if time < 600 else f"{time / 60:.0f} min"


def named(answer: str | Sequence[str] | None) -> str:
    """One class as it is; several labels in a row, and `none` where there are none.

    >>> named("cat"), named(["cat", "night"]), named([]), named(None)
    ('cat', 'cat, night', 'none', 'none')
    """
    if isinstance(answer, str):
        return answer
    return ", ".join(answer or ()) or "none"


def _snapped(share: float) -> float:
    """0 and 1 without the last bits of arithmetic: Wilson's 30 of 30 ends at 0.9999999999999999."""
    return round(share, 12)


def in_words(title: Title | None, value: float) -> str:
    """A value of a score: per cent where it is a share, else three decimals.

    >>> in_words(Title("Right", "", True), 0.8667), in_words(None, 0.41234)
    ('86.7 %', '0.412')
    """
    return percent(value) if title is not None and title.is_share else f"{value:.3f}"


def between(score: Mapping[str, Any]) -> str:
    """The range of a share in [0, 1]: `between 80 and 91`.

    >>> between({"low": 0.798, "high": 0.914}), between({"low": 1.0, "high": 1.0})
    ('between 80 and 91', 'no range can be told')
    """
    low, high = times_in_100(score["low"]), times_in_100(score["high"])
    # a bootstrap over groups that are all right, or all wrong, has no width: that is no knowledge
    return f"between {low} and {high}" if low != high else "no range can be told"


def where(report: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    """What a score was measured on, and whether that is little."""
    told = measured_on(report, score)
    return f"{told}, too few to say more exactly" if score["n"] < FEW else told


def things(report: Mapping[str, Any], n: int = 2) -> str:
    """What is recognised, one or several: image, sequence, line, clip.

    >>> things({}), things({"thing": "sequence"}, 1), things({"thing": "line"})
    ('images', 'sequence', 'lines')
    """
    one: str = report.get("thing", "image")
    return one if n == 1 else f"{one}s"


def a_thing(report: Mapping[str, Any]) -> str:
    """The same with its article.

    >>> a_thing({}), a_thing({"thing": "clip"})
    ('an image', 'a clip')
    """
    one = things(report, 1)
    return f"{'an' if one[0] in 'aeiou' else 'a'} {one}"


def others(report: Mapping[str, Any]) -> str:
    """What a score does not hold for, at the beginning of a sentence."""
    if things(report) == "images":
        return "Other cameras, places, seasons or people"
    return f"{things(report).capitalize()} from elsewhere"


def measured_on(report: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    """What a score was measured on: `measured on 150 held-out images`."""
    n = report["measured"]["n"]
    counted = things(report, n) + (f" of {score['n']} groups" if score["n"] < n else "")
    if is_crossed(report["measured"]):
        return f"measured by cross-validation on {n} {counted}"
    return f"measured on {n} held-out {counted}"


def is_crossed(measured: Mapping[str, Any]) -> bool:
    """Whether every image was measured in turn, rather than some kept apart."""
    return str(measured["how"]).startswith("cross-validation")
