"""Which of the prepared images train, which choose, which measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.dataset import Split
from kenspeckle.data.split import Parts, split
from kenspeckle.tasks.task import Task
from kenspeckle.verbs.prepare import Prepared


def divided(
    prepared: Prepared, task: Task[Any], *, test_share: float, tune_share: float, seed: int
) -> Parts:
    """The images divided as in `data.split.split`, by what the task spreads evenly.

    An image that no answer can be measured by, since its label says less (only a parent, `!husky`)
    or comes of a rule, trains; one that its owner put into another part, or that belongs together
    with an image of one, is dropped.
    """
    samples = prepared.used.samples
    labels = [sample.label for sample in samples]
    whole = prepared.measures(task)
    rows, loose = np.flatnonzero(whole), np.flatnonzero(~whole)
    given: Sequence[Split | None] = [samples[i].split for i in rows]
    parts = split(
        task.strata([labels[i] for i in rows]),
        prepared.groups[rows],
        test_share=test_share,
        tune_share=tune_share,
        seed=seed,
        given=given,
        names=[samples[i].path for i in rows],
    )
    train, val, test = rows[parts.train], rows[parts.val], rows[parts.test]
    free = [i for i in loose if samples[i].split in (None, "train")]
    kept = alone(prepared.groups, np.array(free, dtype=np.int64), np.concatenate([val, test]))
    return replace(
        parts,
        train=np.sort(np.concatenate([train, kept])),
        val=val,
        test=test,
        dropped=np.sort(np.concatenate([rows[parts.dropped], np.setdiff1d(loose, kept)])),
    )


def alone(
    groups: NDArray[np.int64], rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of the rows that share no group with the others."""
    return rows[~np.isin(groups[rows], groups[others])]
