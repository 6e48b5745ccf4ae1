"""Which changes of images training uses: those that were asked for, else those that keep labels."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kenspeckle.data.augment import check_names
from kenspeckle.data.batch import Batch, Chosen
from kenspeckle.data.mix import cutmix, mixup
from kenspeckle.data.preview import preview_sheet
from kenspeckle.errors import MissingExtra, UsageError
from kenspeckle.files import cache_folder, write_text
from kenspeckle.models import BACKBONES
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.models.runtime import for_inference, remembered_precision
from kenspeckle.recipe import Recipe, Training
from kenspeckle.tasks.task import ClassTask, Task
from kenspeckle.training.features import feature_network, weights_hash
from kenspeckle.training.loop import Augment
from kenspeckle.trust.label_safety import (
    MIRRORS,
    Safety,
    allowed,
    label_safety,
    learn_lda,
    quarter_vectors,
)
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell, counter

USUAL = ("crop", "flip", "colour")
ASKED_AT = 128  # pixels a side at which the packaged network looks
IMAGES = 600  # looked at, at most about
PER_CLASS = (8, 60)
# Share of mirrored images that a head which saw none must still recognise: a mirrored 3 is no
# other digit, but none that anybody writes. Digits .65, clothes .76, scenes .97, flowers .92.
FAMILIAR = 0.7
LEAST_BUDGET = 60.0  # seconds; a shorter run has no time to ask
SHOWN = 6  # images on the preview sheet


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
    """The transforms of the recipe, or those that are shown to keep the labels of these images.

    Args:
        rows: the images that are learned from.

    Raises:
        UsageError: a transform that does not exist, or images changed where there are none.
    """
    training = recipe.training
    is_images = prepared.used.reads == "images"
    if (training.mixup or training.cutmix) and not (is_images and isinstance(task, ClassTask)):
        raise UsageError("Only images with classes can be mixed; leave mixup and cutmix out.")
    if not is_images:
        if training.augment:
            raise UsageError("Only images can be changed; leave augment out.")
        return Augmenting()
    if isinstance(task, ClassTask):
        names, words = _names(prepared, recipe, task, rows, tell)
    else:
        names = task.learning.augmentations if training.augment is None else training.augment
        words = (f"augmentation: {', '.join(names)}",) if names else ()
    for sentence in words:
        tell(Stage("training", words=sentence))
    mixing = [name for name in ("mixup", "cutmix") if getattr(training, name)]
    if mixing:
        words = (*words, f"images are mixed two by two ({' and '.join(mixing)})")
    if not names and not mixing:
        return Augmenting(words=words)
    few = torch.from_numpy(rows[np.linspace(0, len(rows) - 1, SHOWN).astype(int)])
    sheet = _png(preview_sheet(prepared.images[few], names)) if names else None
    return Augmenting(names, _change(names, training, task), words, sheet)


def remembered_words(augmenting: Augmenting, folder: Path, resume: bool) -> Augmenting:
    """What was said when the run began: a resumed run is given the names, not the reasons."""
    path = folder / "augmentation.json"
    if resume and path.exists():
        return replace(augmenting, words=tuple(json.loads(path.read_text("utf-8"))))
    write_text(path, json.dumps(augmenting.words, ensure_ascii=False, indent=1) + "\n")
    return augmenting


def _names(
    prepared: Prepared, recipe: Recipe, task: ClassTask, rows: NDArray[np.int64], tell: Tell
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The transforms to use, and what is to be said about it."""
    asked = recipe.training.augment
    if asked is not None:
        check_names(asked)
        return asked, ((f"augmentation as asked: {', '.join(asked)}",) if asked else ())
    name = str(recipe.model)
    is_own = not name.startswith("timm:") and BACKBONES.row(name).facts.get("adapts", False)
    if not is_own or recipe.training.batch_size == "full":
        return (), ()
    budget = recipe.training.budget_seconds
    if budget is not None and budget < LEAST_BUDGET:
        return (), ("no augmentation: the budget leaves no time to ask whether it keeps labels",)
    try:
        backbone = make_backbone("efficientnet-lite0").eval()
    except MissingExtra:
        return (), (
            "no augmentation: the packaged network, which tells whether it is safe, is absent",
        )

    few = torch.zeros(4, 3, ASKED_AT, ASKED_AT, dtype=torch.uint8)
    identity = weights_hash(backbone)
    precision = remembered_precision(lambda: for_inference(backbone), few, identity, cache_folder())
    packaged = feature_network(backbone, precision, ASKED_AT)

    def vectors(images: Tensor) -> NDArray[np.floating[Any]]:
        return quarter_vectors(packaged, images)

    rows = rows[prepared.measures(task)[rows]]
    strata = task.strata([prepared.used.samples[i].label for i in rows])
    every = [*task.classes, "none of them"]
    least, most = PER_CLASS

    def asked_of(chosen: NDArray[np.bool_], names: Sequence[str]) -> list[Safety]:
        present, targets = np.unique(strata[chosen], return_inverse=True)
        return label_safety(
            vectors,
            learn_lda,
            Chosen(prepared.images, torch.from_numpy(rows[chosen])),
            targets.astype(np.int64),
            [every[k] for k in present],
            names,
            groups=prepared.groups[rows[chosen]],
            per_class=int(np.clip(IMAGES // len(task.classes), least, most)),
            progress=counter(tell, "asking whether changes keep the label"),
        )

    if task.mirrored:
        return _with_mirror(asked_of, strata, task)
    safeties = asked_of(np.ones(len(strata), dtype=bool), USUAL)
    strange = {s.name: s.kept for s in safeties if s.name in MIRRORS and _is_strange(s)}
    used = tuple(name for name in allowed(safeties) if name not in strange)
    words = [safety.words for safety in safeties if safety.verdict != "keeps"]
    words += [
        f"{name} is off: it keeps the label, but only {kept.percent()} of the mirrored images are "
        "still recognised, so they are unlike those to come"
        for name, kept in strange.items()
        if kept is not None
    ]
    if used:
        words.insert(0, f"augmentation: {', '.join(used)} (they keep the labels of these images)")
    return used, tuple(words)


def _with_mirror(
    asked_of: Callable[[NDArray[np.bool_], Sequence[str]], list[Safety]],
    strata: NDArray[np.int64],
    task: ClassTask,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The transforms to use where rules say what some classes become in the mirror.

    Of the other classes it is asked as always: a person may have forgotten one.
    """
    others = tuple(name for name in USUAL if name not in MIRRORS)
    safeties = asked_of(np.ones(len(strata), dtype=bool), others)
    words = [safety.words for safety in safeties if safety.verdict != "keeps"]
    used = list(allowed(safeties))
    unsaid = ~np.isin(strata, list(task.mirrored))
    asked = asked_of(unsaid, ["flip"]) if len(np.unique(strata[unsaid])) > 1 else []
    if all(safety.verdict == "keeps" for safety in asked):
        used.append("flip")
        words.append("flip: labels change as the rules say")
    else:
        words += [f"{safety.words}; the rules say nothing of these classes" for safety in asked]
    if used:
        words.insert(0, f"augmentation: {', '.join(used)}")
    return tuple(used), tuple(words)


def _is_strange(safety: Safety) -> bool:
    """Whether a mirror that swaps no label makes images that nobody would meet."""
    if safety.verdict != "keeps" or safety.kept is None:
        return False
    return safety.kept.value < FAMILIAR


def _change(names: Sequence[str], training: Training, task: Task[Any]) -> Augment:
    def change(batch: Batch) -> Batch:
        images, targets = task.changed(batch.images, batch.targets, names)
        if isinstance(task, ClassTask) and (training.mixup or training.cutmix):
            images, targets = _mixed(images, targets, training, task)
        return Batch(images, targets, batch.weights, batch.rows)

    return change


def _mixed(
    images: Tensor, targets: Tensor, training: Training, task: ClassTask
) -> tuple[Tensor, Tensor]:
    # One of the two for a whole update, by turns of a coin, where both are asked for.
    is_cut = not training.mixup or (training.cutmix and bool(torch.rand(()) < 0.5))
    mix, alpha = (cutmix, training.cutmix) if is_cut else (mixup, training.mixup)
    return mix(images, task.shares(targets), alpha)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
