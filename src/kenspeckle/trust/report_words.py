"""How a report says its numbers: scores, shares, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
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
        "Right answers", "The share of images whose class it names. Higher is better.", True
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


def _snapped(share: float) -> float:
    """0 and 1 without the last bits of arithmetic: Wilson's 30 of 30 ends at 0.9999999999999999."""
    return round(share, 12)


def in_words(name: str, value: float) -> str:
    """A value of the score `name`: per cent where it is a share, else three decimals.

    >>> in_words("accuracy_score", 0.8667), in_words("nll_error", 0.41234)
    ('86.7 %', '0.412')
    """
    return percent(value) if name in SCORES and SCORES[name].is_share else f"{value:.3f}"


def on_images(measured: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    """What a score was measured on: `measured on 150 held-out images`."""
    n = measured["n"]
    images = "image" if n == 1 else "images"
    groups = f" of {score['n']} groups" if score["n"] < n else ""
    if is_crossed(measured):
        return f"measured by cross-validation on {n} {images}{groups}"
    return f"measured on {n} held-out {images}{groups}"


def is_crossed(measured: Mapping[str, Any]) -> bool:
    """Whether every image was measured in turn, rather than some kept apart."""
    return str(measured["how"]).startswith("cross-validation")


def unknown_words(unknown: Mapping[str, Any]) -> str:
    """What the model does with an image unlike all it has seen."""
    if unknown["threshold"] is None:
        return (
            "There were too few images to say which are unlike the training images: it names a "
            "class for any image, even of something else."
        )
    words = (
        'An image that is very unlike all training images is answered "unknown". The limit '
        f"(cosine distance {unknown['threshold']:.3f} to the nearest training image) is set so "
        f"that about {times_in_100(unknown['share_set'])} of 100 images like yours are refused."
    )
    if unknown["refused"] is None:
        return words
    value, low, high = (times_in_100(unknown["refused"][end]) for end in ("value", "low", "high"))
    n = unknown["refused"]["n"]
    return f"{words} Measured on {n} images: {value} of 100 (between {low} and {high})."
