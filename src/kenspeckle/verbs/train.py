"""`train`: from a folder of images to a model file that was measured honestly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kenspeckle.data.checks import write_issues
from kenspeckle.data.split import read_split
from kenspeckle.errors import DataError, KenError
from kenspeckle.recipe import Recipe
from kenspeckle.tasks import RULED, TASKS
from kenspeckle.tasks.task import Task
from kenspeckle.verbs.loop_outcome import noun
from kenspeckle.verbs.model import Model
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared, look, prepare, stop_if_hopeless
from kenspeckle.verbs.progress import Stage, Tell, quiet
from kenspeckle.verbs.readings import READINGS
from kenspeckle.verbs.record import finished, write_run, write_unfinished
from kenspeckle.verbs.rules import obeyed
from kenspeckle.verbs.runs import Past, Source, remember
from kenspeckle.verbs.settle import check_ruled, fit_of, settled, suited
from kenspeckle.verbs.train_auto import BUDGET as AUTO_BUDGET
from kenspeckle.verbs.train_auto import train_auto
from kenspeckle.verbs.train_features import train_features
from kenspeckle.verbs.train_loop import Extras, train_loop
from kenspeckle.verbs.train_match import train_match

# Seconds that training takes for an image of 28 pixels and epoch on two cores (benchmarks).
SECONDS_EACH = {
    "seed-cnn": 1 / 6000,
    "cnn": 1 / 2000,
    "cnn-tiny": 1 / 3700,
    "cnn-base": 1 / 800,
    "gan": 1 / 600,
}


Way = Callable[[Prepared, Recipe, Tell, float], Outcome]
# Tasks that are trained in a way of their own: neither by a head of the bank nor by the loop alone.
OWN_WAYS: Mapping[str, Way] = {"match": train_match}


def train(
    data: str | Path,
    recipe: Recipe | None = None,
    *,
    budget: str | None = None,
    settings: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    split: Path | None = None,
    exclude: Path | None = None,
    rules: Path | None = None,
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
        exclude: a list of files to leave out, one a line.
        rules: a rules file, obeyed in training and in every answer (docs/how-to/rules.md).
        folder: where the run's files go; None writes nothing.
        resume: continue the newest snapshot in `folder`.
        diagnose: draw the gradients' health into `folder`.
        find_rate: sweep for a learning rate before a loop trains.
        tell: called with every `Stage`.

    Raises:
        KenError: data, recipe or storage do not allow it; the message says what to do.
    """
    recipe = settled(recipe, budget, settings)
    start = time.perf_counter()
    source = Source(Path(data), columns or {}, split, exclude, rules)
    asked = recipe
    prepared, recipe = _prepared(source, recipe, tell)
    extras = Extras(folder, start, resume=resume, diagnose=diagnose, find_rate=find_rate)
    if folder is None:
        model, report, _ = finished(_trained(prepared, asked, recipe, extras, tell))
        tell(Stage("done", words=report["sentence"]))
        return model
    write_issues(folder / "data_issues.csv", prepared.findings)
    remember(folder, Past(source, asked if asked.model == "auto" else recipe))
    # Killed at any moment, the run leaves a report that opens and says what happened.
    unended = f"This run has not ended, or was stopped. Go on with `ken train --resume {folder}`."
    write_unfinished(folder, prepared, recipe, unended)
    try:
        outcome = _trained(prepared, asked, recipe, extras, tell)
    except KenError as error:
        write_unfinished(folder, prepared, recipe, f"This run failed. {error}")
        raise
    model, report, answers = finished(outcome)
    tell(Stage("done", words=report["sentence"]))
    write_run(folder, outcome, model, report, answers, time.perf_counter() - start)
    return model


def _trained(
    prepared: Prepared, asked: Recipe, recipe: Recipe, extras: Extras, tell: Tell
) -> Outcome:
    """In the task's own way, by a comparison of several networks, by features, or by the loop."""
    if recipe.task in OWN_WAYS:
        return OWN_WAYS[recipe.task](prepared, recipe, tell, extras.began)
    if asked.model == "auto":
        return train_auto(prepared.dataset, prepared, asked, extras, tell)
    if recipe.freeze:
        return train_features(prepared, recipe, tell, extras.began)
    return train_loop(prepared, recipe, extras, tell)


def planned(
    data: str | Path,
    recipe: Recipe | None = None,
    *,
    budget: str | None = None,
    settings: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    split: Path | None = None,
    exclude: Path | None = None,
    rules: Path | None = None,
    tell: Tell = quiet,
) -> dict[str, Any]:
    """What `train` would do with these: everything up to the training itself (`--dry-run`)."""
    recipe = settled(recipe, budget, settings)
    source = Source(Path(data), columns or {}, split, exclude, rules)
    asked = recipe
    prepared, recipe = _prepared(source, recipe, tell)
    return {
        "plan": plan(prepared, recipe, asked.model == "auto"),
        "classes": prepared.used.counts(),
        "findings": [finding.as_dict() for finding in prepared.findings],
        "recipe": recipe.as_dict(),
    }


def _prepared(source: Source, recipe: Recipe, tell: Tell) -> tuple[Prepared, Recipe]:
    if source.rules is not None:
        check_ruled(recipe)
    dataset = look(source.data, source.columns, tell, task=recipe.task, exclude=source.exclude)
    is_open = recipe.model == "auto"
    rules, weak = None, frozenset[str]()
    if source.rules is not None:
        rules, dataset, weak = obeyed(source.rules, dataset, recipe.task, tell)
    recipe = suited(recipe, dataset)
    unlabelled = rules is not None and RULED.load(recipe.task).learns_unlabelled
    prepared = prepare(dataset, fit_of(recipe), tell, unlabelled=unlabelled)
    prepared = with_split(prepared, source.split)
    prepared = replace(prepared, rules=rules, weak=weak)
    for finding in prepared.findings:
        tell(Stage("checking", words=f"{finding.severity}: {finding.words}"))
    stop_if_hopeless(prepared)
    if rules is not None and not prepared.measures(prepared.task(recipe.task)).any():
        raise DataError(
            f"No {READINGS[dataset.reads].thing} of {dataset.root} has a whole label that a person "
            "gave: a single class, or a line. Nothing could be measured by what is there."
        )
    tell(Stage("planning", words=plan(prepared, recipe, is_open)))
    return prepared, recipe


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


def plan(prepared: Prepared, recipe: Recipe, is_open: bool = False) -> str:
    """What will be done, in words: how many images of which classes, by what.

    Args:
        is_open: several networks are compared, of which the recipe names the first.
    """
    used = prepared.used
    counts = used.counts()
    few = ", ".join(f"{name} {n}" for name, n in list(counts.items())[:8])
    more = f" and {len(counts) - 8} more classes" if len(counts) > 8 else ""
    way = "features of" if recipe.freeze else "training"
    seconds = _estimate(prepared, recipe)
    if is_open:
        seconds = recipe.training.budget_seconds or AUTO_BUDGET
        way, recipe = "comparing", replace(recipe, model="several networks")
    kinds = f" of {len(counts)} classes ({few}{more})" if counts else ""
    return (
        f"{len(used)} {noun(used.reads)}{kinds}; {way} {recipe.model}, about {_duration(seconds)}"
    )


def _estimate(prepared: Prepared, recipe: Recipe) -> float:
    """Seconds, from what one image costs on two cores (benchmarks): for the user's planning."""
    n, size = len(prepared.kept), recipe.data.image_size or 224
    if recipe.freeze:
        return 3 + n * 0.008 * (size / 224) ** 2
    each = SECONDS_EACH.get(str(recipe.model), 1 / 1500) * (size / 28) ** 2
    if prepared.used.reads == "sequences":
        each = 0.005
    if prepared.used.reads == "pairs":
        each = 0.001
    task: type[Task[Any]] = TASKS.load(recipe.task)
    training = recipe.training
    seen = max(n, task.learning.an_epoch) * training.epochs
    if training.steps is not None and training.batch_size != "full":
        seen = training.steps * training.batch_size
    seconds = 5 + seen * each
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
