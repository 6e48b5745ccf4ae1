"""The images of one job in a fixed order, with what people say about them and one class list."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.source import Source
from kenspeckle.errors import DataError, nearest

Split = Literal["train", "val", "test"]
Reads = Literal["images", "sequences", "pairs", "clips", "pixels"]
Means = Literal["class", "tags", "text", "boxes", "name", "nothing"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, where it is, and what people say about it.

    Args:
        path: its name for people: relative to the data's root, `/` between the parts.
        source: where its bytes are.
        label: its class, or None where nobody says.
        group: what belongs together (a patient, a track): never on two sides of a split.
        split: the part the data's owner put it in, or None.
        weight: how much it counts in the loss.
        facts: side columns of a table, as text.
    """

    path: str
    source: Source
    label: str | None = None
    group: str | None = None
    split: Split | None = None
    weight: float = 1.0
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def natural_key(text: str) -> tuple[tuple[int, int | str, str], ...]:
    """A sort key that puts `img2` before `img10`, and is total: distinct names never tie.

    >>> sorted(["img10", "img2", "B", "a"], key=natural_key)
    ['a', 'B', 'img2', 'img10']
    """
    parts = re.split(r"([0-9]+)", text)
    key = [
        (0, int(part), part) if part.isascii() and part.isdigit() else (1, part.casefold(), part)
        for part in parts
    ]
    return tuple(key)


def class_list(labels: Iterable[str]) -> tuple[str, ...]:
    """Every name once, in natural order: the one place where a class list is made."""
    return tuple(sorted(set(labels), key=natural_key))


def tags_in(label: str) -> tuple[str, ...]:
    """The labels of an image that may have several, in natural order; `-` stands for none.

    >>> tags_in("wet; dark;wet"), tags_in("-")
    (('dark', 'wet'), ())
    """
    return class_list(
        name for name in (part.strip() for part in label.split(";")) if name and name != "-"
    )


def joined_tags(names: Iterable[str]) -> str:
    """The one way in which several labels are written as one: `tags_in` undone."""
    return ";".join(class_list(names)) or "-"


def _names_in(label: str, means: Means) -> tuple[str, ...]:
    """The classes that a label names."""
    if means == "tags":
        return tags_in(label)
    if means == "boxes":
        from kenspeckle.data.boxes import boxes_in  # it sorts as this file does

        return tuple(box.name for box in boxes_in(label))
    return (label,) if means in ("class", "name") else ()


@dataclass(frozen=True)
class Dataset:
    """An ordered, immutable list of samples and the names its labels use.

    Args:
        root: the folder, archive or table the user named.
        samples: in natural order of their paths.
        classes: from all splits together; an index into this is a label's number everywhere.
        layout: how the data was read, in words: said to the user.
        notes: what was left out or chosen while reading (hidden files, a table that won): said too.
        reads: what a sample is: an image, a sequence, or a pair of strings.
        means: what a label is: the name of a class; several of them, `;` between them; a text that
            is no name; boxes with names, as `data/boxes.py` writes them; the name of one of many
            people or things, each with few images; nothing, where images need no label.
    """

    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    layout: str = ""
    notes: tuple[str, ...] = ()
    reads: Reads = "images"
    means: Means = "class"

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def is_tagged(self) -> bool:
        """Whether a label may name several classes."""
        return self.means == "tags"

    def targets(self) -> NDArray[np.int64]:
        """(N,) class numbers; -1 where there is no label."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array(
            [-1 if s.label is None else number[s.label] for s in self.samples], dtype=np.int64
        )

    def labels_of(self, sample: Sample) -> tuple[str, ...]:
        """The classes that a sample of this dataset belongs to."""
        return () if sample.label is None else _names_in(sample.label, self.means)

    def meaning(self, means: Means) -> Dataset:
        """The same samples, their labels read as something else than the name of a class."""
        samples = self.samples
        if means == "tags":
            samples = tuple(
                s if s.label is None else replace(s, label=joined_tags(tags_in(s.label)))
                for s in samples
            )
        names = (n for s in samples if s.label is not None for n in _names_in(s.label, means))
        return replace(self, samples=samples, classes=class_list(names), means=means)

    def counts(self) -> dict[str, int]:
        """How many images each class has, in class order; zeros included."""
        seen = Counter(name for s in self.samples for name in self.labels_of(s))
        return {name: seen[name] for name in self.classes}

    def subset(self, rows: Iterable[int]) -> Dataset:
        """The samples at `rows`, with the same class list."""
        return replace(self, samples=tuple(self.samples[i] for i in rows))

    def without(self, paths: Iterable[str]) -> Dataset:
        """All samples but those at `paths`, with the same class list."""
        gone = set(paths)
        return replace(self, samples=tuple(s for s in self.samples if s.path not in gone))

    def noted(self, note: str) -> Dataset:
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))

    def fingerprint(self) -> str:
        """SHA-256 over paths, labels, groups and splits (not pixels), hexadecimal."""
        digest = hashlib.sha256()
        for s in self.samples:
            line = "\x1f".join([s.path, s.label or "", s.group or "", s.split or "", str(s.weight)])
            digest.update(line.encode("utf-8", "surrogateescape") + b"\x1e")
        return digest.hexdigest()

    def with_classes(self, classes: Sequence[str]) -> Dataset:
        """The same samples numbered by a model's own class list.

        Raises:
            DataError: a label is not among `classes`; the message names the nearest.
        """
        for name in self.classes:
            if name not in classes:
                raise DataError(
                    f"{self.root} has the class {name!r}, which the model does not know"
                    f"{nearest(name, classes) or '.'} The model's classes: {', '.join(classes)}."
                )
        return replace(self, classes=tuple(classes))
