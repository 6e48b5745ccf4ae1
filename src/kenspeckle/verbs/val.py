"""`val`: how well a finished model does on labelled images it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.errors import DataError, EmptyDataset, UsageError
from kenspeckle.score import proportion
from kenspeckle.trust.measure import measure
from kenspeckle.verbs.loop_outcome import answered, at_most, noun
from kenspeckle.verbs.model import Model
from kenspeckle.verbs.prepare import Prepared, look, prepare
from kenspeckle.verbs.progress import Tell, counter, quiet


@dataclass(frozen=True)
class Validation:
    """Answers on labelled images and what they come to.

    Args:
        report: scores with intervals and the task's details, as plain values; `refused` where the
            model knows what is unlike its training images.
    """

    answers: list[Answer]
    labels: list[str]
    report: dict[str, Any]
    notes: list[str]


def val(
    model: Model,
    data: str | Path,
    columns: Mapping[str, str] | None = None,
    part: str | None = None,
    tell: Tell = quiet,
) -> Validation:
    """Answer every labelled image and score the answers by class name, never by number.

    Args:
        part: `train`, `val` or `test`, where the folder has parts; None takes `test` if there is
            one, else everything.

    Raises:
        DataError: a class of the data is not one of the model's, or the model reads other things.
        EmptyDataset: there is nothing to measure on.
        UsageError: the model has no answers that could be right.
    """
    config = model.bundle.config
    if not model.task.is_measured_again:
        raise UsageError("A model that draws is measured while it is trained; see `ken report`.")
    dataset = look(data, columns, tell, task=config.task)
    if dataset.reads != model.reads:
        raise DataError(
            f"{dataset.root} holds {dataset.reads}, and this model learned from {model.reads}."
        )
    prepared = prepare(dataset, model.fit, tell)
    used = prepared.used
    if used.reads == "sequences" and prepared.features != config.features:
        raise DataError(
            f"The sequences of {used.root} have {prepared.features} numbers a step, and the model "
            f"learned from {config.features}."
        )
    loose = _loose(model, used)
    if used.means != "text" and not model.task.compares:
        known = tuple(name for name in used.classes if name not in loose)
        used = replace(used, classes=known).with_classes(model.classes)
    parts = {sample.split for sample in used.samples}
    part = part or ("test" if "test" in parts else None)
    asked = [i for i, s in enumerate(used.samples) if part is None or s.split == part]
    rows = [i for i in asked if used.samples[i].label not in loose]
    if not rows:
        raise EmptyDataset(f"{used.root} has none of its {used.reads} in the part '{part}'.")
    rows = at_most(np.array(rows), model.task.learning.most_measured).tolist()
    chosen = used.subset(rows)
    answers = _answers(model, prepared, chosen.samples, rows, tell)
    labels = [str(sample.label) for sample in chosen.samples]
    groups = prepared.groups_of(rows)
    report = measure(model.bundle.task(), answers, labels, groups)
    if model.bundle.familiar() is not None:
        refused = sum(answer.unknown for answer in answers)
        report["refused"] = proportion(refused, len(answers)).as_dict()
    how = f"part '{part}'" if part else f"all {noun(used.reads)}"
    report["measured"] = {"n": len(chosen), "how": how}
    notes = list(prepared.notes)
    if len(rows) < len(asked) and loose:
        notes.append(f"images that show only a kind are left out: {', '.join(sorted(loose))}")
    return Validation(answers, labels, report, notes)


def _loose(model: Model, used: Dataset) -> set[str]:
    """Labels that say less than a class, by which nothing can be measured.

    Raises:
        DataError: the model's rules do not know one.
    """
    if model.task.rules is None or used.means != "class":
        return set()
    found = [name for name in used.classes if not model.task.is_whole(name)]
    model.task.collate(found)
    return set(found)


def _answers(
    model: Model, prepared: Prepared, samples: Sequence[Sample], rows: Sequence[int], tell: Tell
) -> list[Answer]:
    """What it says of each sample; where pixels come out, what they measure."""
    answers, step = [], 64
    count = counter(tell, "answering")
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        if model.reads == "pixels":
            some = np.array(rows[start:stop])
            answers += answered(prepared, model.task, model.network, some)
        else:
            answers += model.answer(samples[start:stop])
        count(stop, len(rows))
    return answers
