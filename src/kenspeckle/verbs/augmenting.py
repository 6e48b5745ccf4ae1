"""Which changes of images training uses: those that were asked for, else those that keep labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenspeckle.recipe import Recipe
from kenspeckle.tasks.task import Task
from kenspeckle.training.loop import Augment
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Tell


@dataclass(frozen=True)
class Augmenting:
    """What is done to the images of an update.

    Args:
        names: the transforms that are used.
        change: does it; None where nothing is done.
        words: a sentence for each thing that was decided.
        sheet: a picture of what it does to a few images, PNG.
    """

    names: tuple[str, ...] = ()
    change: Augment | None = None
    words: tuple[str, ...] = ()
    sheet: bytes | None = None


def chosen_augmentation(
    prepared: Prepared, recipe: Recipe, task: Task[Any], rows: NDArray[np.int64], tell: Tell
) -> Augmenting:
    """The transforms of the recipe, or those that are shown to keep the labels of these images."""
    return Augmenting()
