"""Faults of parts that the owner gave: a class that one lacks, groups and copies in two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset, Sample, Split
from kenspeckle.data.duplicates import exact_groups, near_groups
from kenspeckle.data.layouts.listing import counted, some

_STRICTEST: tuple[Split, ...] = ("test", "val", "train")  # a group's images stay in the first
_LEFT_OUT = (
    "Training leaves out those in train (and those in val that belong to test), so that the score "
    "stays honest; "
)
_Rows = Sequence[int]
_Counts = Mapping[Split, Counter[str]]


def check_parts(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """What is wrong with the parts: classes that one lacks, and images that belong together apart.

    Images without a given part count as train, where others are in val or test. Byte-identical
    copies with several labels are left to the check `duplicates`, which leaves all of them out.
    """
    readable = [row for row in range(len(dataset)) if row not in evidence.faults]
    given = {dataset.samples[row].split for row in readable} & {"val", "test"}
    counts = _given_counts(dataset, readable) if given else {}
    yield from _never_trained(dataset, evidence, counts)
    if not given:
        return
    yield from _never_measured(dataset, counts)
    yield from _groups_apart(dataset, readable)
    yield from _copies_apart(dataset, evidence)


def _part(sample: Sample) -> Split:
    return sample.split or "train"


def _given_counts(dataset: Dataset, readable: _Rows) -> dict[Split, Counter[str]]:
    counts: dict[Split, Counter[str]] = {part: Counter() for part in _STRICTEST}
    for row in readable:
        sample = dataset.samples[row]
        counts[_part(sample)].update(dataset.labels_of(sample))
    return counts


def _never_trained(dataset: Dataset, evidence: Evidence, counts: _Counts) -> Iterator[Finding]:
    """Classes that are measured on but never learned."""
    if evidence.parts is not None:
        learned = _classes(dataset, evidence.parts.train.tolist())
        measured = _classes(dataset, evidence.parts.test.tolist())
    elif counts:
        learned, measured = set(counts["train"]), set(counts["test"])
    else:
        return
    unlearned = measured - learned
    missing = [name for name in dataset.classes if name in unlearned]
    if missing and learned:
        noun = counted(len(missing), "class", "classes")
        words = f"{noun} in test but not in train, so always answered wrongly: {some(missing)}."
        yield Finding("parts", "error", words, "Put images of each class into train.")


def _classes(dataset: Dataset, rows: Iterable[int]) -> set[str]:
    return {name for row in rows for name in dataset.labels_of(dataset.samples[row])}


def _never_measured(dataset: Dataset, counts: _Counts) -> Iterator[Finding]:
    """Classes of train that a given part lacks; and those of val that are not in train."""
    train, val = counts["train"], counts["val"]
    for part, use in (("test", "measured"), ("val", "looked at when training stops")):
        held = counts["test" if part == "test" else "val"]
        missing = [name for name in dataset.classes if train[name] and not held[name]]
        if held and missing:
            images = sum(train[name] for name in missing)
            yield Finding(
                check="parts",
                severity="warning",
                words=f"{len(missing):,} of {len(train):,} classes in train "
                f"({counted(images, 'image')}) have none in {part}, so they are not {use}: "
                f"{some(missing)}.",
                advice=f"Put some images of each class into {part}.",
            )
    unknown = [name for name in dataset.classes if val[name] and not train[name]]
    if train and unknown:
        noun = counted(len(unknown), "class", "classes")
        images = sum(val[name] for name in unknown)
        words = f"{noun} ({counted(images, 'image')}) in val but not in train: {some(unknown)}."
        yield Finding("parts", "warning", words, "Put images of each class into train.")


def _groups_apart(dataset: Dataset, readable: _Rows) -> Iterator[Finding]:
    members: dict[str, list[int]] = {}
    for row in readable:
        group = dataset.samples[row].group
        if group is not None:
            members.setdefault(group, []).append(row)
    apart = {name: rows for name, rows in members.items() if _parts_of(dataset, rows) > 1}
    if apart:
        noun = counted(len(apart), "group has", "groups have")
        groups = list(apart.values())
        yield _apart(
            dataset,
            groups,
            f"{noun} images in two given parts or more ({some(apart)}); ",
            _LEFT_OUT + "give each group one part to use them all.",
        )


def _copies_apart(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """Copies byte for byte, then pictures that are nearly the same and not among them."""
    if evidence.keys is None:
        return
    rows = range(len(dataset)) if evidence.rows is None else evidence.rows.tolist()
    sets = [[rows[i] for i in group] for group in exact_groups(evidence.keys)]
    exact = [
        group
        for group in sets
        if len({dataset.samples[row].label for row in group} - {None}) < 2
        and _parts_of(dataset, group) > 1
    ]
    if exact:
        yield _apart(
            dataset,
            exact,
            f"{counted(len(exact), 'picture')}, byte for byte the same, in two given parts; ",
            _LEFT_OUT + "removing them is tidier.",
        )
    copies = {row for group in sets for row in group[1:]}
    # A set of copies is shown by its first: what lies between copies was said above.
    near = [
        shown
        for group in _near(evidence, rows)
        if len(shown := [row for row in group if row not in copies]) > 1
        and _parts_of(dataset, shown) > 1
    ]
    if near:
        yield _apart(
            dataset,
            near,
            f"{counted(len(near), 'picture')}, nearly the same, in two given parts; ",
            "Look at them. " + _LEFT_OUT + "removing them is tidier.",
        )


def _near(evidence: Evidence, rows: _Rows) -> list[list[int]]:
    """Samples that show the same picture, as `split` is told of them."""
    if evidence.perceptual is None or evidence.thumbs is None:
        return []
    if evidence.width is None or evidence.height is None:
        return []
    sides = np.maximum(evidence.width, evidence.height)
    groups = near_groups(evidence.perceptual, evidence.thumbs, sides)
    return [[rows[i] for i in group] for group in groups]


def _parts_of(dataset: Dataset, rows: _Rows) -> int:
    return len({_part(dataset.samples[row]) for row in rows})


def _apart(dataset: Dataset, groups: Sequence[_Rows], what: str, advice: str) -> Finding:
    """A finding on sets of rows that straddle parts: all are named, those left out are counted."""
    left_out: Counter[tuple[Split, Split]] = Counter()
    for group in groups:
        parts = [_part(dataset.samples[row]) for row in group]
        kept = next(part for part in _STRICTEST if part in parts)
        left_out.update((part, kept) for part in parts if part != kept)
    said = ", ".join(
        f"{count:,} in {part} that belong to {kept}" for (part, kept), count in left_out.items()
    )
    paths = tuple(dataset.samples[row].path for group in groups for row in group)
    return Finding(
        check="parts",
        severity="warning",
        words=f"{what}{counted(left_out.total(), 'image')} left out of training ({said}): "
        f"{some(paths)}.",
        advice=advice,
        paths=paths,
        facts={"groups": [[dataset.samples[row].path for row in group] for group in groups]},
    )
