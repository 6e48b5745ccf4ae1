"""`check`: look for faults in images before training on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kenspeckle.data.fit import Fit
from kenspeckle.verbs.deep import looked_deeper
from kenspeckle.verbs.prepare import Prepared, look, prepare
from kenspeckle.verbs.progress import Tell, quiet

SIZE = 224  # the size that training would cache first: what is read here is not read again


def check(
    data: str | Path,
    columns: Mapping[str, str] | None = None,
    tell: Tell = quiet,
    *,
    task: str = "classify",
    exclude: Path | None = None,
    deep: bool = False,
) -> Prepared:
    """What is wrong with the images at `data`: `.findings`, the gravest first.

    Args:
        task: `tag` where an image may have several labels.
        exclude: a list of files to leave out, one a line.
        deep: look with the packaged network too: copies that were cropped, labels that are probably
            wrong. Takes about 10 ms an image the first time.

    Raises:
        DataError, EmptyDataset: there is nothing to check.
    """
    dataset = look(data, columns, tell, task=task, exclude=exclude)
    prepared = prepare(dataset, Fit(SIZE), tell, usable_only=False)
    return looked_deeper(prepared, tell) if deep else prepared
