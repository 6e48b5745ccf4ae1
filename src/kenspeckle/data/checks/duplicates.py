"""Copies of an image: kept on one side of a split; with two labels, one of them must be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.duplicates import exact_groups, near_groups
from kenspeckle.data.layouts.listing import counted, some

_KEPT = "Nothing needs doing: copies are kept on one side of every split. Removing them is tidier."
_CHOOSE = "Decide which label is right and remove the others; until then they are left out."
_LOOK = "Look at them: if it is one picture, decide which label is right and remove the others."


def check_duplicates(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """One finding for each set of copies with several labels, one for all others of a kind.

    Byte-identical copies with several labels are left out of training: they cannot all be right.
    Pictures that are nearly the same stay in, since an expert may tell them apart.
    """
    if evidence.keys is None:
        return
    rows = np.arange(len(dataset)) if evidence.rows is None else evidence.rows
    exact = exact_groups(evidence.keys)
    yield from _findings(dataset, rows, exact, is_exact=True)
    yield from _findings(dataset, rows, _near(evidence, exact), is_exact=False)


def _near(evidence: Evidence, exact: Sequence[Sequence[int]]) -> list[list[int]]:
    """Groups of nearly equal pictures, each set of byte-identical ones shown by its first."""
    keys, hashes = evidence.keys, evidence.perceptual
    if keys is None or hashes is None or evidence.thumbs is None:
        return []
    if evidence.width is None or evidence.height is None:
        return []
    copies = {row for group in exact for row in group[1:]}
    single = np.array([row for row in range(len(keys)) if row not in copies], dtype=np.int64)
    sizes = np.maximum(evidence.width, evidence.height)[single]
    groups = near_groups(hashes[single], evidence.thumbs[single], sizes)
    return [single[group].tolist() for group in groups]


def _findings(
    dataset: Dataset, rows: NDArray[np.int64], groups: Sequence[Sequence[int]], is_exact: bool
) -> Iterator[Finding]:
    kind = "byte for byte the same file" if is_exact else "nearly the same picture"
    agreeing: list[Sequence[Sample]] = []
    for group in groups:
        copies = [dataset.samples[int(rows[row])] for row in group]
        if len({copy.label for copy in copies if copy.label is not None}) > 1:
            yield _conflict(copies, kind, is_exact)
        else:
            agreeing.append(copies)
    if agreeing:
        paths = tuple(copy.path for copies in agreeing for copy in copies)
        sets = counted(len(agreeing), "set")
        yield Finding(
            check="duplicates",
            severity="note",
            words=f"{sets} of images ({len(paths):,} files) are {kind}: {some(paths)}.",
            advice=_KEPT,
            paths=paths,
            facts={"groups": [[copy.path for copy in copies] for copies in agreeing]},
        )


def _conflict(copies: Sequence[Sample], kind: str, is_exact: bool) -> Finding:
    said = " and ".join(f"{copy.path} ({copy.label})" for copy in copies)
    return Finding(
        check="duplicates",
        severity="error" if is_exact else "warning",
        words=f"These are {kind} with different labels: {said}.",
        advice=_CHOOSE if is_exact else _LOOK,
        paths=tuple(copy.path for copy in copies),
        excluded=is_exact,
        facts={"labels": [copy.label for copy in copies]},
    )
