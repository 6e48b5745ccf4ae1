"""What a finished training leaves behind: the model, the report, and the files of the run."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kenspeckle.answer import Answer
from kenspeckle.bundle.bundle import Bundle
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.dataset import Sample
from kenspeckle.data.split import Parts, write_split
from kenspeckle.files import write_text
from kenspeckle.score import proportion
from kenspeckle.trust.measure import measure
from kenspeckle.trust.report import card, sentence, write_report
from kenspeckle.trust.unknown import refuse_unknown
from kenspeckle.verbs.model import Model
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.tables import write_predictions, write_rows
from kenspeckle.version import __version__


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
