"""Images whose label a model that had not seen them contradicts: a list to look at."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.layouts.listing import counted

# A proposal is credible from here on. Chosen on scenes6, sign-digits, orl-faces, grocery and pacs
# (1521 images, 5 draws of 5 % swapped labels, benchmarks/checks.py): of 296 claims 88 % were right,
# and 69 % of the swaps were found. Without these limits it was half of 522 claims, and 75 %.
SURE = 0.7  # probability of another class, at least
DENIED = 0.05  # probability of the given class, at most
FEW_CLAIMS = 3
USUAL = 0.02  # of the images; on those sets as they are 0 to 3 % are claimed
_SHOWN = 3


def check_label_errors(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """One finding that lists the images whose label is probably wrong, the surest first.

    Confident learning proposes an image where another class's out-of-fold probability reaches what
    that class's own images have on average, and its own class's does not; of these only the
    credible are listed (see `SURE`, `DENIED`). Nothing is left out because of it: a hard image and
    a wrong label look the same to a model. Rows of nan take no part, nor do images with several
    labels.

    On 600 photographs of flowers, 5 % of them mislabelled (10 draws, benchmarks/checks.py), 84 % of
    the claims were right (78 to 90) and 59 % of the wrong labels were found (56 to 63); as they
    are, 6 are claimed.

    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068, equations 1 and 2, by cleanlab.
    """
    if evidence.probabilities is None or evidence.rows is None or dataset.is_tagged:
        return
    labels = dataset.targets()[evidence.rows]
    judged = np.flatnonzero((labels >= 0) & np.isfinite(evidence.probabilities).all(axis=1))
    probabilities, given = evidence.probabilities[judged], labels[judged]
    claimed = _claimed(given, probabilities)
    if len(claimed):
        samples = [dataset.samples[row] for row in evidence.rows[judged[claimed]]]
        yield _finding(dataset, samples, probabilities[claimed], given[claimed], len(judged))


def _claimed(given: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of (N, K) whose class (N,) is credibly another, the surest first."""
    if len(np.unique(given)) < 2:
        return np.empty(0, dtype=np.int64)
    from cleanlab.filter import find_label_issues  # 1.3 s to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on classes without images, and on finding nothing
        found = find_label_issues(
            given,
            probabilities,
            filter_by="confident_learning",
            return_indices_ranked_by="normalized_margin",
            n_jobs=1,
        )
    proposed = np.asarray(found, dtype=np.int64)  # nothing found comes as floats
    is_sure = probabilities[proposed].max(axis=1) >= SURE
    return proposed[is_sure & (probabilities[proposed, given[proposed]] <= DENIED)]


def _finding(
    dataset: Dataset,
    samples: list[Sample],
    probabilities: NDArray[np.float64],
    given: NDArray[np.int64],
    judged: int,
) -> Finding:
    """The list: samples, their (n, K) probabilities and their given classes (n,)."""
    facts = [
        {
            "path": sample.path,
            "given": dataset.classes[k],
            "likely": dataset.classes[int(row.argmax())],
            "given_probability": float(row[k]),
            "likely_probability": float(row.max()),
        }
        for sample, row, k in zip(samples, probabilities, given.tolist(), strict=True)
    ]
    said = [
        f"{fact['path']} is labelled '{fact['given']}' ({100 * fact['given_probability']:.0f} %) "
        f"and looks like '{fact['likely']}' ({100 * fact['likely_probability']:.0f} %)"
        for fact in facts[:_SHOWN]
    ]
    if len(facts) > _SHOWN:
        said.append(f"and {len(facts) - _SHOWN:,} more")
    is_many = len(facts) > max(FEW_CLAIMS, USUAL * judged)
    return Finding(
        check="label_errors",
        severity="warning" if is_many else "note",
        words=(
            f"{len(facts):,} of {counted(judged, 'image')} may have a wrong label, by the "
            f"probabilities of a model that had not seen them: {'; '.join(said)}."
        ),
        advice=(
            "Look at these images, the surest first, and correct the labels that are wrong. It is "
            "a list to look at: hard images are in it too, and none is left out of training."
        ),
        paths=tuple(sample.path for sample in samples),
        facts={"suspects": facts},
    )
