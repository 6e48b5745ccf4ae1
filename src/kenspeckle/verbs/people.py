"""`enroll`, `identify`, `verify`: who a model of the task `match` knows, and what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from kenspeckle.data.dataset import class_list
from kenspeckle.errors import DataError, UsageError
from kenspeckle.tasks.gallery import Gallery, Identity, Verdict
from kenspeckle.tasks.gallery import verify as verdict
from kenspeckle.tasks.match import Compared, Match
from kenspeckle.verbs.model import PIECE, Model
from kenspeckle.verbs.progress import Stage, Tell, quiet

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Identified:
    """Who one image shows.

    Args:
        path: of the image.
        words: the answer as a person would say it.
        identity: people who are similar enough; None where the file could not be read.
        error: why it could not.
    """

    path: str
    words: str
    identity: Identity | None
    error: str | None = None


def people_of(model: Model) -> dict[str, int]:
    """Who is enrolled, in natural order, and by how many images.

    Raises:
        UsageError: the model keeps no gallery.
    """
    names = _task(model).gallery.names
    return {name: names.count(name) for name in class_list(names)}


def enrol(model: Model, name: str, images: Sequence[str | Path], *, tell: Tell = quiet) -> Model:
    """A model that knows `name` by these images too; the given one stays as it is.

    Args:
        name: of a person, place or thing; one that is known gets more images.
        images: files, folders and archives.

    Raises:
        UsageError: the model keeps no gallery, or the name is empty.
        DataError: an image cannot be read (then none is enrolled), or there is none.
    """
    gallery = _task(model).gallery
    paths, vectors = _vectors(model, images, tell)
    return _with_gallery(model, gallery.enrolled(name, vectors, paths))


def removed(model: Model, name: str) -> Model:
    """A model that has forgotten `name`: the vectors, the paths, and what its report says of them.

    Where the person's images were learned from, the network's weights still come from them too:
    only training without them undoes that.

    Raises:
        UsageError: the model keeps no gallery, or nobody of that name is enrolled.
    """
    gallery = _task(model).gallery
    left = gallery.removed(name)
    paths = [p for n, p in zip(gallery.names, gallery.paths, strict=True) if n == name]
    forgotten = _with_gallery(model, left)
    report = cast(Mapping[str, Any], _without(model.bundle.report, name, paths))
    return Model(replace(forgotten.bundle, report=report))


def identify(
    model: Model, images: Sequence[str | Path], most: int = 3, *, tell: Tell = quiet
) -> list[Identified]:
    """Who of those that are enrolled each image shows, or nobody.

    Args:
        images: files, folders and archives.
        most: people told at most, though all that are nearly as similar as the first.

    Raises:
        UsageError: the model keeps no gallery.
        DataError: a name leads to nothing.
    """
    task = _task(model)
    answers = _answers(model, images, tell)
    read = [answer for answer in answers if isinstance(answer, Compared)]
    limit = task.limit(len(task.gallery.people))
    asked = np.stack([a.vector for a in read]) if read else np.zeros((0, task.size), np.float32)
    found = iter(task.gallery.identify(asked, limit, most))
    return [Identified(a.path, a.words, None if a.error else next(found), a.error) for a in answers]


def verify(model: Model, one: str | Path, other: str | Path) -> Verdict:
    """Whether two images show the same person, place or thing; nobody need be enrolled.

    Raises:
        UsageError: the model keeps no gallery.
        DataError: an image cannot be read.
    """
    task = _task(model)
    _, (first, second) = _vectors(model, [one, other], quiet)
    return verdict(first, second, task.limit(1))


def _task(model: Model) -> Match:
    task = model.task
    if not isinstance(task, Match):
        raise UsageError(
            f"This model's task is {model.bundle.config.task}, so nobody can be "
            "enrolled. Train one with `ken train FOLDER --task match`."
        )
    return task


def _answers(model: Model, images: Sequence[str | Path], tell: Tell) -> list[Any]:
    samples = [s for name in images for s in model.reading.named(str(name), model.reads)]
    answers: list[Any] = []
    for start in range(0, len(samples), PIECE):
        answers += model.answer(samples[start : start + PIECE])
        tell(Stage("comparing", len(answers), len(samples)))
    return answers


def _vectors(model: Model, images: Sequence[str | Path], tell: Tell) -> tuple[list[str], Floats]:
    """Paths and vectors (N, D) of images that can all be read."""
    answers = _answers(model, images, tell)
    faults = [answer for answer in answers if answer.error]
    if faults:
        raise DataError(
            f"{len(faults)} of {len(answers)} images cannot be read, so nothing was done; the "
            f"first is {faults[0].path} ({faults[0].error})."
        )
    if not answers:
        raise DataError("There is no image to compare. Name files or folders.")
    return [answer.path for answer in answers], np.stack([answer.vector for answer in answers])


def _with_gallery(model: Model, gallery: Gallery) -> Model:
    bundle = model.bundle
    config = replace(
        bundle.config,
        classes=class_list(gallery.names),
        paths=gallery.paths,
        labels=gallery.names,
    )
    return Model(replace(bundle, config=config, vectors=torch.from_numpy(gallery.vectors).half()))


def _without(values: object, name: str, paths: Sequence[str]) -> object:
    """Plain values without a person: no key or row about them, no path of theirs in a text."""
    if isinstance(values, str):
        for gone in (*paths, f"'{name}'"):
            values = re.sub(rf"(?<![\w./]){re.escape(gone)}(?!\w)", "(removed)", values)
        return values
    if isinstance(values, Mapping):
        return {k: _without(v, name, paths) for k, v in values.items() if k != name}
    if isinstance(values, list):
        return [_without(v, name, paths) for v in values if not _is_about(v, name, paths)]
    return values


def _is_about(row: object, name: str, paths: Sequence[str]) -> bool:
    """Whether a row of a list, or one of its cells, is the person's name or path."""
    cells = row.values() if isinstance(row, Mapping) else [row]
    return any(isinstance(cell, str) and (cell == name or cell in paths) for cell in cells)
