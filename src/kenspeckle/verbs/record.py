"""What a finished training leaves behind: the model, the report, and the files of the run."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kenspeckle.answer import Answer, Place
from kenspeckle.bundle.bundle import Bundle
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.checks import write_issues
from kenspeckle.data.dataset import Sample, tags_in
from kenspeckle.data.fit import Fit
from kenspeckle.data.split import Parts, write_split
from kenspeckle.data.synthetic import MARK
from kenspeckle.files import write_text
from kenspeckle.recipe import Recipe
from kenspeckle.score import proportion
from kenspeckle.tasks.task import ClassTask, Network, Task
from kenspeckle.trust.drawing import outlined
from kenspeckle.trust.explain.grad_cam import explain_by_grad_cam
from kenspeckle.trust.measure import measure
from kenspeckle.trust.overfitting import Circumstances, Overfitting, overfitting
from kenspeckle.trust.report import card, sentence, write_failed_report, write_report
from kenspeckle.trust.unknown import Familiar, refuse_unknown
from kenspeckle.verbs.model import NEAREST, Model
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.pictures import as_png
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.readings import READINGS
from kenspeckle.verbs.readings.clips import weighed
from kenspeckle.verbs.settle import fit_of
from kenspeckle.verbs.tables import write_predictions, write_rows
from kenspeckle.version import __version__

EXPLAINED = 12  # worst and best images with a heat map, each: about 40 ms an image
Pictures = dict[str, np.ndarray[Any, np.dtype[np.uint8]]]
Heats = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def finished(outcome: Outcome) -> tuple[Model, dict[str, Any], list[Answer]]:
    """The model file's content, the report, and the answers that were scored."""
    prepared, task = outcome.prepared, outcome.task
    used = prepared.used
    samples = [used.samples[int(i)] for i in outcome.measured]
    answers = list(outcome.answers)
    familiar = outcome.familiar
    if outcome.distances is not None and familiar is not None:
        answers = refuse_unknown(answers, outcome.distances, familiar.threshold)
    answers = _with_nearest(outcome, answers)
    groups = prepared.groups_of(outcome.measured)
    report = _report(outcome, samples, answers, groups)
    config = Config(
        task=outcome.recipe.task,
        model=str(outcome.recipe.model),
        classes=task.classes,
        head=outcome.head,
        image_size=outcome.recipe.data.image_size or 224,
        resize=outcome.recipe.data.resize,
        image_width=outcome.recipe.data.image_width,
        looks=outcome.recipe.data.looks,
        precision=outcome.precision,
        widths=outcome.widths,
        transform=outcome.transform,
        pool=outcome.recipe.pool,
        positions=outcome.recipe.positions,
        features=task.features(prepared.features),
        settings=task.kept(),
        threshold=None if familiar is None else _finite(familiar.threshold),
        paths=tuple(used.samples[int(i)].path for i in outcome.trained),
        labels=tuple(str(used.samples[int(i)].label) for i in outcome.trained),
        recipe=outcome.recipe.as_dict(),
    )
    held = outcome.out_of_fold
    bundle = Bundle(
        config=config,
        weights=outcome.network.state_dict(),
        **_vectors(familiar),
        logits=torch.zeros(0, 0) if held is None else torch.from_numpy(held).float(),
        report=report,
        card=card(report, config.classes),
    )
    return Model(bundle), report, answers


def _with_nearest(outcome: Outcome, answers: list[Answer]) -> list[Answer]:
    """The answers, each with the training images most like it (never itself)."""
    familiar, vectors = outcome.familiar, outcome.vectors
    if familiar is None or vectors is None or not len(answers):
        return answers
    names = [outcome.prepared.used.samples[int(i)].path for i in outcome.trained]
    rows, _ = familiar.nearest(vectors, NEAREST + 1)
    return [
        replace(a, nearest=tuple([names[k] for k in row if names[k] != a.path][:NEAREST]))
        for a, row in zip(answers, rows, strict=True)
    ]


def _vectors(familiar: Familiar | None) -> dict[str, torch.Tensor]:
    if familiar is None:
        return {}
    vectors = torch.from_numpy(familiar.vectors).half()
    return {"vectors": vectors, "reference": torch.from_numpy(familiar.reference)}


def _plain(value: Any) -> Any:
    """JSON has no infinity: a tuning loss that ran away is null there."""
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _report(
    outcome: Outcome,
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    groups: Sequence[int] | None,
) -> dict[str, Any]:
    prepared, parts = outcome.prepared, outcome.parts
    used = prepared.used
    labels = [str(sample.label) for sample in samples]
    refused = sum(answer.unknown for answer in answers)
    report: dict[str, Any] = {
        "kind": outcome.recipe.task,
        "thing": READINGS[used.reads].thing,
        "data": _data(prepared),
        "split": {
            "train": len(parts.train),
            "val": len(parts.val),
            "test": len(parts.test),
            "left_out": len(parts.dropped),
            "grouped": prepared.has_groups,
            "notes": list(outcome.notes),
        },
        "measured": {"n": len(samples), "how": outcome.how},
        "model": {
            "name": outcome.recipe.model,
            "frozen": bool(outcome.recipe.freeze),
            **({} if used.reads == "pixels" else {"image_size": outcome.recipe.data.image_size}),
            "precision": outcome.precision,
            **_told_of(outcome.task),
            **outcome.facts,
        },
        "unknown": None
        if not isinstance(outcome.task, ClassTask)
        else {
            "threshold": None if outcome.familiar is None else _finite(outcome.familiar.threshold),
            "share_set": outcome.recipe.unknown_share,
            "refused": None
            if outcome.distances is None
            else proportion(refused, len(answers)).as_dict(),
        },
        "tried": list(outcome.tried),
        "findings": [finding.as_dict() for finding in prepared.findings],
        # seconds differ between two runs of one recipe; they are in results.csv
        "history": [
            {k: _plain(v) for k, v in row.items() if k != "seconds"} for row in outcome.history
        ],
        "use": {"file": "weights/best.ken"},
        **outcome.told,
        **measure(outcome.task, answers, labels, groups),
    }
    # Hardly any image with many things is wholly right, so that is no measure of what was learned.
    is_told = outcome.task.judges and outcome.task.means != "boxes"
    report["overfitting"] = _overfitting(outcome, answers, labels).as_dict() if is_told else None
    return {"sentence": sentence(report), **report}


def _overfitting(outcome: Outcome, answers: Sequence[Answer], labels: Sequence[str]) -> Overfitting:
    """Whether it learned its own images rather than what they show."""
    prepared, recipe = outcome.prepared, outcome.recipe
    training = recipe.training
    learned = prepared.used.subset(outcome.parts.train.tolist())
    found = {finding.check for finding in prepared.findings if finding.severity != "note"}
    right = sum(outcome.task.is_right(a, b) for a, b in zip(answers, labels, strict=True))
    trained = outcome.network if not recipe.freeze else outcome.network.get_submodule("head")
    run = Circumstances(
        images_per_class=[count for count in learned.counts().values() if count],
        is_frozen=bool(recipe.freeze),
        parameters=sum(p.numel() for p in trained.parameters()),
        has_augmentation=bool(training.augment or training.mixup or training.cutmix),
        has_weight_decay=training.weight_decay > 0,
        has_dropout=recipe.dropout > 0,
        has_leak="near_duplicates" in found,
        has_label_errors="label_errors" in found,
        has_shortcut="shortcuts" in found,
        things=f"{READINGS[prepared.used.reads].thing}s",
    )
    pairs = outcome.training_right or (0, 0), (right, len(labels))
    return overfitting(outcome.history, *pairs, run)


def write_unfinished(folder: Path, prepared: Prepared, recipe: Recipe, failed: str) -> None:
    """A report that opens and says that the run did not end, and what is known by then."""
    used = prepared.used
    report = {
        "failed": failed,
        "kind": recipe.task,
        "thing": READINGS[used.reads].thing,
        "data": _data(prepared),
        "findings": [finding.as_dict() for finding in prepared.findings],
        "model": {"name": recipe.model, "frozen": bool(recipe.freeze)},
    }
    write_failed_report(folder, report)


def _data(prepared: Prepared) -> dict[str, Any]:
    used = prepared.used
    return {
        "name": used.root.name,
        "layout": used.layout,
        "images": len(prepared.dataset),
        "used": len(used),
        "classes": used.counts(),
        "notes": list(prepared.notes),
        "fingerprint": used.fingerprint(),
    }


def _told_of(task: Task[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"temperature": task.temperature} if isinstance(task, ClassTask) else {}
    return told if task.rules is None else {**told, "rules": task.rules.file}


def write_run(
    folder: Path,
    outcome: Outcome,
    model: Model,
    report: Mapping[str, Any],
    answers: Sequence[Answer],
    seconds: float,
) -> None:
    """Every file of a run, each whole or not at all; the model first."""
    model.save(folder / "weights" / "best.ken")
    outcome.recipe.to_yaml(folder / "args.yaml")
    prepared, parts = outcome.prepared, outcome.parts
    used, kept = prepared.used, prepared.kept
    on_disk = Parts(kept[parts.train], kept[parts.val], kept[parts.test])
    write_split(folder / "split.csv", prepared.dataset, on_disk)
    labels = [used.samples[int(i)].label for i in outcome.measured]
    write_issues(folder / "data_issues.csv", prepared.findings)
    write_predictions(folder / "predictions.csv", answers, labels)
    write_rows(folder / "results.csv", outcome.history or outcome.tried)
    pictures, heats = _pictures(outcome, report)
    write_report(folder, report, {**pictures, **outcome.sheets}, heats)
    for name, pixels in outcome.sheets.items():
        as_png(folder / name, pixels, MARK)
    environment = {
        "kenspeckle": __version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 2),
        "data": str(Path(prepared.dataset.root).resolve()),
    }
    write_text(folder / "environment.json", json.dumps(environment, indent=1) + "\n")


def _pictures(outcome: Outcome, report: Mapping[str, Any]) -> tuple[Pictures, Heats]:
    """The images that the report shows, by path, (H, W, C) uint8; and where the answers come from.

    Shown are the worst and best images and the training images nearest to them.
    """
    prepared, network, task = outcome.prepared, outcome.network, outcome.task
    if prepared.used.reads == "clips":
        return _strips(outcome, report), {}
    if prepared.used.reads != "images":
        return {}, {}
    rows = {sample.path: row for row, sample in enumerate(prepared.used.samples)}
    told = [*(report["mistakes"] or []), *report["best"]]
    nearest = {path for one in told for path in one.get("nearest", ())}
    wanted = {one["path"] for one in told} | nearest
    pictures = {
        path: prepared.images[torch.tensor([rows[path]])][0].permute(1, 2, 0).contiguous().numpy()
        for path in wanted
        if path in rows
    }
    if task.says_where:
        fit = fit_of(outcome.recipe)
        placed = {answer.path: answer.places for answer in outcome.answers}
        for path, pixels in pictures.items():
            size = prepared.sizes[rows[path]]
            seen = [_seen(place, fit, size) for place in placed.get(path, ())]
            pictures[path] = outlined(pixels, seen, task.classes)
    if not isinstance(network, Network) or task.compares:
        return pictures, {}
    heats = {}
    for one in [*report["mistakes"][:EXPLAINED], *report["best"][:EXPLAINED]]:
        said = (
            next(iter(tags_in(str(one["said"]))), None) if prepared.used.is_tagged else one["said"]
        )
        assert isinstance(task, ClassTask)
        if said not in task.outputs:  # nothing said, or a class known by rules alone
            continue
        image = prepared.images[torch.tensor([rows[one["path"]]])]
        target = torch.tensor([task.outputs.index(said)])
        heats[one["path"]] = explain_by_grad_cam(network, image, target)[0].numpy()
    return pictures, heats


def _strips(outcome: Outcome, report: Mapping[str, Any]) -> Pictures:
    """The frames of the clips that the report shows, each with its weight for the class said."""
    samples = {sample.path: sample for sample in outcome.prepared.used.samples}
    task, network = outcome.task, outcome.network
    assert isinstance(task, ClassTask)

    def answer(steps: torch.Tensor) -> torch.Tensor:
        return task.probabilities(network(steps))

    pictures = {}
    for one in [*report["mistakes"][:EXPLAINED], *report["best"][:EXPLAINED]]:
        target = task.classes.index(one["said"])
        fit = fit_of(outcome.recipe)
        pictures[one["path"]], _ = weighed(samples[one["path"]], fit, answer, target)
    return pictures


def _seen(place: Place, fit: Fit, size: tuple[int, int]) -> Place:
    """A place in pixels of what the network sees."""
    high, wide = fit.shape
    box = np.array([[place.left, place.top, place.right, place.bottom]])
    left, top, right, bottom = fit.shares(box, size)[0] * [wide, high, wide, high]
    return replace(place, left=left, top=top, right=right, bottom=bottom)
