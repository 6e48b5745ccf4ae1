"""What a way of training hands back: the model's parts, and how its answers were earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kenspeckle.answer import Answer
from kenspeckle.data.split import Parts
from kenspeckle.models.runtime import Precision
from kenspeckle.recipe import Recipe
from kenspeckle.tasks.task import Task
from kenspeckle.trust.unknown import Familiar
from kenspeckle.verbs.prepare import Prepared


@dataclass(frozen=True)
class Outcome:
    """A trained network and answers on images that it had not learned from.

    Args:
        prepared: the images it is about; rows below are rows of these.
        task: with what it found out for itself, such as a temperature.
        network: backbone and head, as the bundle stores them.
        head: how `Config.head` names it; `widths` and `transform` belong to `features`.
        recipe: with all that was measured at run time resolved.
        parts: which rows trained, chose and measured.
        measured: (M,) rows whose answers are scored.
        answers: M, each by the model that had not seen the image, nothing refused yet.
        how: the way of measuring in words, such as `5-fold cross-validation`.
        familiar: training vectors and the threshold of `unknown`; None where there are none.
        trained: (T,) rows of the vectors in `familiar`.
        distances: (M,) of the measured images, or None where they would not be honest.
        vectors: (M, D) of the measured images, to find their nearest training images.
        tried: what was compared before choosing, for the report.
        history: a row an epoch, where a loop trained.
        out_of_fold: (T, K) logits of the training images by models that had not seen them.
        training_right: how many of how many training images the final network answers right.
        told: what the report says beside all this: augmentation, losses, overfitting.
        sheets: pictures made for the report and kept beside it, by file name: (H, W, 1 or 3)
            uint8, or films, (T, H, W, 1 or 3).
    """

    prepared: Prepared
    task: Task[Any]
    network: nn.Module
    head: str
    recipe: Recipe
    precision: Precision
    parts: Parts
    measured: NDArray[np.int64]
    answers: Sequence[Answer]
    how: str
    familiar: Familiar | None
    trained: NDArray[np.int64]
    widths: tuple[int, ...] = ()
    transform: str | None = None
    distances: NDArray[np.float32] | None = None
    vectors: NDArray[np.float32] | None = None
    tried: Sequence[Mapping[str, Any]] = ()
    history: Sequence[Mapping[str, Any]] = ()
    out_of_fold: NDArray[np.float64] | None = None
    training_right: tuple[int, int] | None = None
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    sheets: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
