"""What is said about one image, and what is said about a fault in the data: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Place:
    """Something that stands somewhere in an image: a character that was read, an object.

    Args:
        name: of the character or the class.
        probability: in [0, 1].
        left, top, right, bottom: in pixels of the upright original, from its upper left corner.
    """

    name: str
    probability: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Answer:
    """What the model says about one image.

    Args:
        label: the class said, or None when the image is refused as unknown or cannot be read.
        probabilities: class name -> probability, likeliest first; they sum to 1 over all classes.
        unknown: unlike anything in training, so no class is claimed.
        distance: how far from the training images it lies, over the threshold: above 1 is unknown.
        words: the answer as a person would say it.
        error: why there is no answer, when the file could not be read.
        nearest: the paths of the training images most like it.
        places: what stands where, of tasks that say so.
        figures: what was measured of an image, by name, such as decibels.
        unsaid: places that were considered and are too unsure to be said.
        rules: of an answer under rules, what they changed and why; see `knowledge/explained.py`.
    """

    path: str
    label: str | None
    probabilities: Mapping[str, float]
    words: str
    unknown: bool = False
    distance: float | None = None
    error: str | None = None
    nearest: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    unsaid: tuple[Place, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[str, Any] | None = None

    @property
    def probability(self) -> float:
        """The probability of the likeliest class, in [0, 1]; 0 when there is none."""
        return next(iter(self.probabilities.values()), 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One fault of the data: which check found it, how grave, which files, what to do.

    Args:
        check: the check's name in the catalogue.
        severity: `error` spoils the result or stops training; `warning` may; `note` is for the eye.
        words: what is wrong, where and what was found, as a sentence.
        advice: what to do about it, as a sentence.
        paths: the files concerned, as the dataset names them.
        excluded: the run leaves these files out by itself (it says so).
    """

    check: str
    severity: Severity
    words: str
    advice: str
    paths: tuple[str, ...] = ()
    excluded: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
