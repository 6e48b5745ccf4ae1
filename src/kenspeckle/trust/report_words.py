"""How a report says its numbers: scores, shares, thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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


SCORES: dict[str, Title] = {
    "accuracy_score": Title(
        "Right answers", "How often the class it names is the true one. Higher is better.", True
    ),
    "balanced_accuracy_score": Title(
        "Right answers, every class counting alike",
        "The average over classes, so that a rare class weighs as much as a common one. "
        "Higher is better.",
        True,
    ),
    "nll_error": Title(
        "Surprise at the truth",
        "The average of minus the logarithm of the probability given to the true class. "
        "0 is perfect; lower is better.",
        False,
    ),
    "calibration_error": Title(
        "How far stated percentages are off",
        "The gap between the probability it states and how often it is right. Lower is better.",
        True,
    ),
    "mean_average_precision_score": Title(
        "Labels in the right order",
        "Whether what has a label comes before what lacks it, when sorted by the label's "
        "probability; the average over labels (mean average precision). Higher is better.",
        True,
    ),
    "micro_precision_score": Title(
        "Right when given",
        "Of all labels it gives, how many are right. Higher is better.",
        True,
    ),
    "micro_recall_score": Title(
        "Found", "Of all labels that are there, how many it gives. Higher is better.", True
    ),
    "micro_f1_score": Title(
        "Right and found in one number",
        "Between the two above and nearer to the worse one (F1 over all labels). Higher is better.",
        True,
    ),
    "macro_f1_score": Title(
        "Right and found, every label counting alike",
        "The average of each label's F1, so that a rare label weighs as much as a common one. "
        "Higher is better.",
        True,
    ),
    "exact_match_score": Title(
        "Wholly right",
        "How often nothing at all is wrong: every label, or every character. Higher is better.",
        True,
    ),
    "character_error": Title(
        "Wrong characters",
        "Characters to insert, delete or replace, per character of the right string. "
        "0 is perfect; lower is better.",
        True,
    ),
}


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


def named(answer: str | Sequence[str]) -> str:
    """One class as it is; several labels in a row, and `none` where there are none.

    >>> named("cat"), named(["cat", "night"]), named([])
    ('cat', 'cat, night', 'none')
    """
    if isinstance(answer, str):
        return answer
    return ", ".join(answer) or "none"


def _snapped(share: float) -> float:
    """0 and 1 without the last bits of arithmetic: Wilson's 30 of 30 ends at 0.9999999999999999."""
    return round(share, 12)


def in_words(name: str, value: float) -> str:
    """A value of the score `name`: per cent where it is a share, else three decimals.

    >>> in_words("accuracy_score", 0.8667), in_words("nll_error", 0.41234)
    ('86.7 %', '0.412')
    """
    return percent(value) if name in SCORES and SCORES[name].is_share else f"{value:.3f}"


def things(report: Mapping[str, Any], n: int = 2) -> str:
    """What is recognised, one or several: image, sequence, line.

    >>> things({}), things({"sequences": True}, 1), things({"kind": "translate"})
    ('images', 'sequence', 'lines')
    """
    one = "sequence" if report.get("sequences") else "image"
    if report.get("kind") == "translate":
        one = "line"
    return one if n == 1 else f"{one}s"


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


def unknown_words(report: Mapping[str, Any]) -> str:
    """What the model does with an image unlike all it has seen."""
    unknown, one, several = report["unknown"], things(report, 1), things(report)
    article = "an" if one == "image" else "a"
    if unknown["threshold"] is None:
        return (
            f"There were too few {several} to say which are unlike the training {several}: it "
            f"names a class for any {one}, even of something else."
        )
    words = (
        f"{article.capitalize()} {one} that is very unlike all training {several} is answered "
        f'"unknown". The limit (cosine distance {unknown["threshold"]:.3f} to the nearest training '
        f"{one}) is set so that about {times_in_100(unknown['share_set'])} of 100 {several} like "
        "yours are refused."
    )
    if unknown["refused"] is None:
        return words
    value, low, high = (times_in_100(unknown["refused"][end]) for end in ("value", "low", "high"))
    n = unknown["refused"]["n"]
    return f"{words} Measured on {n} {several}: {value} of 100 (between {low} and {high})."


@dataclass(frozen=True)
class Use:
    """How a model file is used: lines for a shell, and lines of Python."""

    commands: tuple[str, ...]
    python: str


def use(report: Mapping[str, Any], file: str) -> Use:
    """Lines that use the model in `file` on what this report is about.

    >>> use({}, "best.ken").commands[0]
    'ken predict --model best.ken photo.jpg'
    """
    example, more = "photo.jpg", "new_photos/"
    if report.get("sequences"):
        example, more = "sequence.npy", "new_sequences/"
    if report.get("kind") == "translate":
        example, more = "lines.txt", "new_lines.tsv"
    commands = [f"ken predict --model {file} {example}"]
    if example == "photo.jpg":
        commands.append(f"ken explain --model {file} {example}")
    commands.append(f"ken val --model {file} {more}")
    python = f'import kenspeckle\nprint(kenspeckle.load("{file}").predict("{example}")[0].words)'
    return Use(tuple(commands), python)
