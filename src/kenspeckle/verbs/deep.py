"""What features and out-of-fold answers add to the checks: copies, label errors, shortcuts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.alike import alike_groups, alike_pairs
from kenspeckle.data.checks import Evidence, by_severity, run_checks
from kenspeckle.data.duplicates import joined
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell


def deeply_grouped(prepared: Prepared, vectors: NDArray[np.float32]) -> Prepared:
    """The same images, with pictures that features show to be copies in one group.

    Args:
        vectors: (N, D) of the images, each of length 1.
    """
    evidence = _about_kept(prepared)
    assert evidence.width is not None
    assert evidence.height is not None
    pairs = alike_pairs(vectors, prepared.images, evidence.width, evidence.height)
    prepared = replace(prepared, alike=pairs)
    if not pairs:
        return prepared
    links = [(group[0], row) for group in alike_groups(pairs) for row in group[1:]]
    _, firsts, number = np.unique(prepared.groups, return_index=True, return_inverse=True)
    links += [(int(firsts[k]), row) for row, k in enumerate(number.tolist())]
    return replace(prepared, groups=joined(len(prepared.groups), links))


def deeply_checked(
    prepared: Prepared,
    vectors: NDArray[np.float32],
    probabilities: NDArray[np.float64] | None,
    tell: Tell,
) -> Prepared:
    """The same images, with what the checks find that see features, answers or folds.

    Args:
        vectors: (N, D) of the images, each of length 1.
        probabilities: (N, K) out of fold, nan where there are none.
    """
    evidence = replace(_about_kept(prepared), vectors=vectors, probabilities=probabilities)
    tell(Stage("looking deeper"))
    found = run_checks(prepared.dataset, evidence, deep=True)
    for finding in found:
        tell(Stage("checking", words=f"{finding.severity}: {finding.words}"))
    return replace(prepared, findings=by_severity([*prepared.findings, *found]))


def _about_kept(prepared: Prepared) -> Evidence:
    """The evidence of the checks, about the images that are used."""
    evidence = prepared.evidence
    assert evidence.rows is not None
    at = np.searchsorted(evidence.rows, prepared.kept)
    picked: dict[str, Any] = {
        name: None if (values := getattr(evidence, name)) is None else values[at]
        for name in ("perceptual", "width", "height", "thumbs")
    }
    formats = None if evidence.formats is None else [evidence.formats[i] for i in at]
    return Evidence(
        rows=prepared.kept,
        keys=prepared.keys,
        formats=formats,
        images=prepared.images,
        alike=prepared.alike,
        **picked,
    )
