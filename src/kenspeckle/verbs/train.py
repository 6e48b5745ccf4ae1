"""`train`: from a folder of images to a model file that was measured honestly."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kenspeckle.answer import Answer
from kenspeckle.bundle.bundle import Bundle
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.checks import write_issues
from kenspeckle.data.dataset import Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.split import Parts, read_split, write_split
from kenspeckle.errors import UsageError
from kenspeckle.files import write_text
from kenspeckle.models import BACKBONES
from kenspeckle.models.pretrained import is_pretrained
from kenspeckle.recipe import Recipe
from kenspeckle.score import proportion
from kenspeckle.tasks import TASKS
from kenspeckle.training.bank import check_head
from kenspeckle.trust.measure import measure
from kenspeckle.trust.report import card, sentence, write_report
from kenspeckle.trust.unknown import refuse_unknown
from kenspeckle.verbs.model import Model
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared, prepare, stop_if_hopeless
from kenspeckle.verbs.progress import Stage, Tell, quiet
from kenspeckle.verbs.runs import Past, remember
from kenspeckle.verbs.tables import write_predictions, write_rows
from kenspeckle.verbs.train_features import train_features
from kenspeckle.verbs.train_loop import Extras, train_loop
from kenspeckle.version import __version__


def train(
    data: str | Path,
    recipe: Recipe | None = None,
    *,
    budget: str | None = None,
    settings: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    split: Path | None = None,
    folder: Path | None = None,
    resume: bool = False,
    diagnose: bool = False,
    find_rate: bool = False,
    tell: Tell = quiet,
) -> Model:
    """Check the images, train, measure, and hand back a model.

    Args:
        data: a folder, archive or table of labelled images (docs/how-to/data.md).
        recipe: all choices; None is the default path: packaged features and the best head.
        budget: wall-clock limit such as `90s`, `5m` or `1h`; ends with a usable model.
        settings: changes to the recipe by dotted name, such as `{"training.epochs": 5}`.
        columns: which column of a table is which, such as `{"label": "sign_name"}`.
        split: a `split.csv` of an earlier run, to be measured on the same images.
        folder: where the run's files go; None writes nothing.
        resume: continue the newest snapshot in `folder`.
        diagnose: draw the gradients' health into `folder`.
        find_rate: sweep for a learning rate before a loop trains.
        tell: called with every `Stage`.

    Raises:
        KenError: data, recipe or storage do not allow it; the message says what to do.
    """
    recipe = settled(recipe or Recipe(), budget, settings)
    start = time.perf_counter()
    prepared = _prepared(data, recipe, columns, split, tell)
    if folder is not None:
        write_issues(folder / "data_issues.csv", prepared.findings)
        remember(folder, Past(Path(data), columns or {}, recipe, split))
    if recipe.freeze:
        outcome = train_features(prepared, recipe, tell)
    else:
        extras = Extras(folder, start, resume=resume, diagnose=diagnose, find_rate=find_rate)
        outcome = train_loop(prepared, recipe, extras, tell)
    model, report, answers = finished(outcome)
    tell(Stage("done", words=report["sentence"]))
    if folder is not None:
        seconds = time.perf_counter() - start
        write_run(folder, outcome, model, report, answers, seconds)
    return model


def planned(
    data: str | Path,
    recipe: Recipe | None = None,
    *,
    budget: str | None = None,
    settings: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    tell: Tell = quiet,
) -> dict[str, Any]:
    """What `train` would do with these: everything up to the training itself (`--dry-run`)."""
    recipe = settled(recipe or Recipe(), budget, settings)
    prepared = _prepared(data, recipe, columns, None, tell)
    return {
        "plan": plan(prepared, recipe),
        "classes": prepared.used.counts(),
        "findings": [finding.as_dict() for finding in prepared.findings],
        "recipe": recipe.as_dict(),
    }


def _prepared(
    data: str | Path,
    recipe: Recipe,
    columns: Mapping[str, str] | None,
    split: Path | None,
    tell: Tell,
) -> Prepared:
    fit = Fit(recipe.data.image_size or 224, recipe.data.resize)
    prepared = with_split(prepare(data, fit, columns, tell), split)
    for finding in prepared.findings:
        tell(Stage("checking", words=f"{finding.severity}: {finding.words}"))
    stop_if_hopeless(prepared)
    tell(Stage("planning", words=plan(prepared, recipe)))
    return prepared


def settled(recipe: Recipe, budget: str | None, settings: Mapping[str, Any] | None) -> Recipe:
    """The recipe with settings applied and names checked, before any image is read."""
    if budget is not None:
        settings = {**(settings or {}), "training.budget_seconds": seconds_of(budget)}
    if settings:
        recipe = recipe.changed(settings)
    TASKS.row(recipe.task)
    check_head(recipe.head)
    facts = {} if recipe.model.startswith("timm:") else BACKBONES.row(recipe.model).facts
    size, smallest = facts.get("image_size", 224), facts.get("smallest", 1)
    if recipe.data.image_size is not None and recipe.data.image_size < smallest:
        raise UsageError(
            f"{recipe.model} needs images of {smallest} pixels a side or more, found --imgsz "
            f"{recipe.data.image_size}. Small images are enlarged: leave --imgsz out."
        )
    _check_device(recipe.training.device)
    pretrained = is_pretrained(recipe.model, recipe.weights)
    if recipe.freeze and not pretrained:
        raise UsageError(
            f"{recipe.model} has no trained weights to freeze. Give some with --weights FILE, or "
            "train it from scratch with --freeze no."
        )
    data = replace(recipe.data, image_size=recipe.data.image_size or size)
    _check_ranges(recipe)
    return replace(recipe, freeze=pretrained if recipe.freeze is None else recipe.freeze, data=data)


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        usable = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise UsageError(
            f"There is no device '{device}' here. Usable: {', '.join(usable)}."
        ) from None


def _check_ranges(recipe: Recipe) -> None:
    faults = [
        f"'{name}' should be {words}, found {value}"
        for name, value, fits, words in (
            ("data.image_size", recipe.data.image_size, _between(1, 4096), "from 1 to 4096 pixels"),
            ("data.test_share", recipe.data.test_share, _between(0, 0.9), "from 0 to 0.9"),
            ("data.tune_share", recipe.data.tune_share, _between(0, 0.9), "from 0 to 0.9"),
            ("data.folds", recipe.data.folds, _between(2, 100), "from 2 to 100"),
            ("training.epochs", recipe.training.epochs, _between(1, 1e6), "1 or more"),
            ("training.steps", recipe.training.steps, _between(1, 1e12), "1 or more"),
            ("training.batch_size", recipe.training.batch_size, _between(1, 1e6), "1 or more"),
            ("training.learning_rate", recipe.training.learning_rate, _positive, "above 0"),
            ("training.seed", recipe.training.seed, _between(0, 2**63), "0 or more"),
            ("data.seed", recipe.data.seed, _between(0, 2**63), "0 or more"),
            ("training.threads", recipe.training.threads, _between(1, 4096), "1 or more"),
            ("training.l1", recipe.training.l1, _between(0, 1e6), "0 or more"),
            ("training.l2", recipe.training.l2, _between(0, 1e6), "0 or more"),
            ("training.weight_decay", recipe.training.weight_decay, _between(0, 1e6), "0 or more"),
            ("training.clip", recipe.training.clip, _positive, "above 0"),
            ("training.patience", recipe.training.patience, _between(0, 1e9), "0 or more"),
            ("training.budget_seconds", recipe.training.budget_seconds, _positive, "above 0"),
            ("training.smoothing", recipe.training.smoothing, _between(0, 0.99), "in [0, 1)"),
            ("training.averaging", recipe.training.averaging, _between(0, 0.999999), "in [0, 1)"),
            ("dropout", recipe.dropout, _between(0, 0.99), "in [0, 1)"),
            ("unknown_share", recipe.unknown_share, _between(0, 0.99), "in [0, 1)"),
        )
        if isinstance(value, (int, float)) and not fits(value)
    ]
    if faults:
        raise UsageError("The recipe asks for what cannot be: " + "; ".join(faults) + ".")


def _positive(value: float) -> bool:
    return 0 < value < 1e9


def _between(low: float, high: float) -> Any:
    return lambda value: low <= value <= high


def seconds_of(budget: str) -> float:
    """A length of time in words -> seconds.

    >>> seconds_of("90s"), seconds_of("5m"), seconds_of("1.5h")
    (90.0, 300.0, 5400.0)
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    text = budget.strip().lower()
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"The budget '{budget}' is no length of time; say 90s, 10m or 1h.")
    return seconds


def with_split(prepared: Prepared, path: Path | None) -> Prepared:
    """The same images with the parts that an earlier run's split.csv gives them."""
    if path is None:
        return prepared
    given = read_split(path, prepared.dataset)
    samples = tuple(
        replace(sample, split=part)
        for sample, part in zip(prepared.dataset.samples, given, strict=True)
    )
    return replace(prepared, dataset=replace(prepared.dataset, samples=samples))


def plan(prepared: Prepared, recipe: Recipe) -> str:
    """What will be done, in words: how many images of which classes, by what."""
    used = prepared.used
    counts = used.counts()
    few = ", ".join(f"{name} {n}" for name, n in list(counts.items())[:8])
    more = f" and {len(counts) - 8} more classes" if len(counts) > 8 else ""
    way = "features of" if recipe.freeze else "training"
    seconds = _estimate(prepared, recipe)
    return (
        f"{len(used)} images of {len(counts)} classes ({few}{more}); {way} {recipe.model}, "
        f"about {_duration(seconds)}"
    )


def _estimate(prepared: Prepared, recipe: Recipe) -> float:
    """Seconds, from what one image costs on two cores (benchmarks): for the user's planning."""
    n, size = len(prepared.kept), recipe.data.image_size or 224
    if recipe.freeze:
        return 3 + n * 0.008 * (size / 224) ** 2
    epochs = recipe.training.epochs
    seconds = 2 + n * epochs * (1 / 6000) * (size / 28) ** 2 * (
        1 if recipe.model == "seed-cnn" else 4
    )
    return min(seconds, recipe.training.budget_seconds or seconds)


def _duration(seconds: float) -> str:
    """`40 seconds`, `3 minutes`, `2 hours`: no more exact than an estimate is.

    >>> _duration(200)
    '3 minutes'
    """
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds > 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(5, 5 * round(seconds / 5))} seconds"


def finished(outcome: Outcome) -> tuple[Model, dict[str, Any], list[Answer]]:
    """The model file's content, the report, and the answers that were scored."""
    prepared, task = outcome.prepared, outcome.task
    used = prepared.used
    samples = [used.samples[int(i)] for i in outcome.measured]
    paths = [sample.path for sample in samples]
    calibrated = task.temperature
    task.temperature = 1.0  # the logits are calibrated already, each by its own model
    answers = task.decode(torch.from_numpy(outcome.logits), paths)
    task.temperature = calibrated
    if outcome.distances is not None:
        answers = refuse_unknown(answers, outcome.distances, outcome.familiar.threshold)
    groups = prepared.groups_of(outcome.measured)
    report = _report(outcome, samples, answers, groups)
    config = Config(
        task=outcome.recipe.task,
        model=outcome.recipe.model,
        classes=used.classes,
        head=outcome.head,
        image_size=outcome.recipe.data.image_size or 224,
        resize=outcome.recipe.data.resize,
        precision=outcome.precision,
        widths=outcome.widths,
        transform=outcome.transform,
        temperature=task.temperature,
        threshold=_finite(outcome.familiar.threshold),
        paths=tuple(used.samples[int(i)].path for i in outcome.trained),
        labels=tuple(int(k) for k in used.targets()[outcome.trained]),
        recipe=outcome.recipe.as_dict(),
    )
    held = outcome.out_of_fold
    bundle = Bundle(
        config=config,
        weights=outcome.network.state_dict(),
        vectors=torch.from_numpy(outcome.familiar.vectors).half(),
        reference=torch.from_numpy(outcome.familiar.reference),
        logits=torch.zeros(0, 0) if held is None else torch.from_numpy(held).float(),
        report=report,
        card=card(report, config.classes),
    )
    return Model(bundle), report, answers


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
        "data": {
            "name": used.root.name,
            "layout": used.layout,
            "images": len(prepared.dataset),
            "used": len(used),
            "classes": used.counts(),
            "notes": list(prepared.notes),
            "fingerprint": used.fingerprint(),
        },
        "split": {
            "train": len(parts.train),
            "val": len(parts.val),
            "test": len(parts.test),
            "left_out": len(parts.dropped),
            "grouped": prepared.has_groups,
            "notes": list(parts.notes),
        },
        "measured": {"n": len(samples), "how": outcome.how},
        "model": {
            "name": outcome.recipe.model,
            "frozen": bool(outcome.recipe.freeze),
            "image_size": outcome.recipe.data.image_size,
            "precision": outcome.precision,
            "temperature": outcome.task.temperature,
            **outcome.facts,
        },
        "unknown": {
            "threshold": _finite(outcome.familiar.threshold),
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
        **measure(outcome.task, answers, labels, groups),
    }
    return {"sentence": sentence(report), **report}


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
    write_predictions(folder / "predictions.csv", answers, labels)
    write_rows(folder / "results.csv", outcome.history or outcome.tried)
    write_report(folder, report, _pictures(prepared, report))
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


def _pictures(
    prepared: Prepared, report: Mapping[str, Any]
) -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """The images of the report's mistakes, by path: (H, W, C) uint8."""
    wanted = {mistake["path"] for mistake in report["mistakes"]}
    pictures = {}
    for row, sample in enumerate(prepared.used.samples):
        if sample.path in wanted:
            image = prepared.images[torch.tensor([row])][0].permute(1, 2, 0)
            pictures[sample.path] = image.contiguous().numpy()
    return pictures
