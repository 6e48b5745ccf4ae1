"""One picture cropped, turned or mirrored: on two sides of a split it makes a score a lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kenspeckle.answer import Finding
from kenspeckle.data.alike import Alike, alike_pairs
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.duplicates import duplicate_groups, near_groups
from kenspeckle.data.layouts.listing import counted

_SHOWN = 5  # pairs named in words; the facts hold all
_SCORED = "Take one of each pair away: a model that has seen the picture is not tested by it."
_LOOK = "Look at them: if it is one picture, decide which label is right and remove the other."
_KEEP = "Keep each pair on one side of a split, or remove one of the two."


def check_near_duplicates(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """At most one finding each for pairs in two parts, with two labels, and all others.

    What the check of duplicates says already, equal bytes and hashes that are near, is left out.
    A pair in two parts that has two labels is in both findings.
    """
    if evidence.vectors is None or evidence.images is None:
        return
    if evidence.width is None or evidence.height is None:
        return
    pairs = evidence.alike
    if pairs is None:
        pairs = alike_pairs(evidence.vectors, evidence.images, evidence.width, evidence.height)
    rows = np.arange(len(dataset)) if evidence.rows is None else evidence.rows
    split, labelled, others = [], [], []
    for pair in _unsaid(pairs, evidence):
        a, b = (dataset.samples[int(rows[row])] for row in (pair.first, pair.second))
        is_split = None not in (a.split, b.split) and a.split != b.split
        is_labelled = None not in (a.label, b.label) and a.label != b.label
        if is_split:
            split.append((a, b, pair))
        if is_labelled:
            labelled.append((a, b, pair))
        if not is_split and not is_labelled:
            others.append((a, b, pair))
    if split:
        told = [f"{a.path} ({a.split}) and {b.path} ({b.split})" for a, b, _ in split]
        yield _finding(split, told, "in two parts of the split", _SCORED)
    if labelled:
        told = [f"{a.path} ({a.label}) and {b.path} ({b.label})" for a, b, _ in labelled]
        yield _finding(labelled, told, "with different labels", _LOOK)
    if others:
        told = [f"{a.path} and {b.path}" for a, b, _ in others]
        yield _finding(others, told, "", _KEEP)


def _unsaid(pairs: Sequence[Alike], evidence: Evidence) -> Iterator[Alike]:
    """The pairs that bytes and hashes do not join."""
    if not pairs or evidence.keys is None:
        yield from pairs
        return
    groups = duplicate_groups(evidence.keys, _near(evidence))
    yield from (pair for pair in pairs if groups[pair.first] != groups[pair.second])


def _near(evidence: Evidence) -> list[list[int]]:
    hashes, thumbs = evidence.perceptual, evidence.thumbs
    width, height = evidence.width, evidence.height
    if hashes is None or thumbs is None or width is None or height is None:
        return []
    return near_groups(hashes, thumbs, np.maximum(width, height))


def _finding(
    pairs: Sequence[tuple[Sample, Sample, Alike]], told: Sequence[str], where: str, advice: str
) -> Finding:
    more = f"; and {len(told) - _SHOWN:,} more" if len(told) > _SHOWN else ""
    number = " ".join(filter(None, [f"{counted(len(pairs), 'pair')} of images", where]))
    show = "shows" if len(pairs) == 1 else "show"
    return Finding(
        check="near_duplicates",
        severity="warning" if where else "note",
        words=f"{number} {show} the same picture, cropped, turned or mirrored, or two shots of one "
        f"moment: {'; '.join(told[:_SHOWN])}{more}.",
        advice=advice,
        paths=tuple(dict.fromkeys(sample.path for a, b, _ in pairs for sample in (a, b))),
        facts={"pairs": [_measured(*pair) for pair in pairs]},
    )


def _measured(a: Sample, b: Sample, pair: Alike) -> dict[str, object]:
    return {
        "first": a.path,
        "second": b.path,
        "agreement": round(pair.agreement, 3),
        "overlap": round(pair.overlap, 3),
        "turn": pair.turn,
    }
