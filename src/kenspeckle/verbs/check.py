"""`check`: look for faults in images before training on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kenspeckle.data.fit import Fit
from kenspeckle.verbs.prepare import Prepared, prepare
from kenspeckle.verbs.progress import Tell, quiet

SIZE = 224  # the size that training would cache first: what is read here is not read again


def check(
    data: str | Path, columns: Mapping[str, str] | None = None, tell: Tell = quiet
) -> Prepared:
    """What is wrong with the images at `data`: `.findings`, the gravest first.

    Raises:
        DataError, EmptyDataset: there is nothing to check.
    """
    return prepare(data, Fit(SIZE), columns, tell, usable_only=False)
