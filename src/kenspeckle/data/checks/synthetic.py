"""Images that a network drew: never measured on, since they say nothing of real ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.layouts.listing import counted, some


def check_synthetic(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """Images whose file says that they were drawn.

    They are left out, unless they cannot come into a test part: those that the owner put into train
    beside a test part of the owner's.
    """
    if evidence.synthetic is None or not evidence.synthetic.any():
        return
    rows = np.arange(len(dataset)) if evidence.rows is None else evidence.rows
    marked = [dataset.samples[int(row)] for row in rows[evidence.synthetic]]
    has_test = any(sample.split == "test" for sample in dataset.samples)
    stay = tuple(s.path for s in marked if has_test and s.split == "train")
    leave = tuple(s.path for s in marked if not (has_test and s.split == "train"))
    if leave:
        yield Finding(
            "synthetic",
            "warning",
            f"{counted(len(leave), 'image')} of {len(dataset):,} were drawn by a network, as the "
            f"files say, and would make a score say nothing of real images: {some(leave)}.",
            "They are left out. To learn from them, put them into a folder train/ beside a folder "
            "test/ of real images.",
            leave,
            excluded=True,
        )
    if stay:
        yield Finding(
            "synthetic",
            "note",
            f"{counted(len(stay), 'image')} in train were drawn by a network, as the files say; "
            f"they are learned from and not measured on: {some(stay)}.",
            "Compare with a run without them: drawn images may help or harm.",
            stay,
        )
