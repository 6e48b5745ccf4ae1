"""`check`: look for faults in images before training on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from kenspeckle.data.fit import Fit
from kenspeckle.errors import UsageError
from kenspeckle.models.vectors import unit
from kenspeckle.recipe import Recipe
from kenspeckle.tasks import TASKS
from kenspeckle.verbs.deep import deeply_checked, deeply_grouped
from kenspeckle.verbs.prepare import Prepared, look, prepare
from kenspeckle.verbs.progress import Tell, quiet
from kenspeckle.verbs.settle import suited
from kenspeckle.verbs.train_features import Bank, see

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
    if not deep or len(prepared.used.classes) < 2 or not len(prepared.kept):
        return prepared
    return _looked_deeper(prepared, suited(Recipe(task=task, head="logistic"), dataset), tell)


def _looked_deeper(prepared: Prepared, recipe: Recipe, tell: Tell) -> Prepared:
    """The same images, seen by the packaged network and answered out of fold."""
    if prepared.used.reads != "images":
        raise UsageError(
            "The deep checks look at images with the packaged network; leave --deep out."
        )
    seen = see(prepared, recipe, tell)
    vectors = unit(seen.vectors[:, -seen.network.widths[-1] :])
    asked = TASKS.load(recipe.task)(prepared.used.classes)
    prepared = deeply_grouped(prepared, vectors)
    bank = Bank.of(recipe, asked, prepared, seen.vectors, seen.network.widths)
    rows = np.arange(len(prepared.kept))
    with threadpool_limits(1):
        _, chosen, _ = bank.choose(rows)
    answers = None if chosen is None else bank.probabilities(chosen, rows)
    return deeply_checked(prepared, vectors, answers, quiet)  # the findings are handed back
