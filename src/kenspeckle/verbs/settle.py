"""A recipe made ready: settings applied, names and ranges checked, before any image is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from kenspeckle.data.augment import check_names
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.fit import Fit
from kenspeckle.data.sides import typical_shape, typical_side
from kenspeckle.errors import DataError, UsageError, nearest
from kenspeckle.models import BACKBONES, ENCODERS
from kenspeckle.models.pretrained import is_pretrained
from kenspeckle.recipe import Recipe
from kenspeckle.tasks import RULED, TASKS
from kenspeckle.tasks.losses import RULED_WORDS, check_loss
from kenspeckle.tasks.task import ClassTask, Task
from kenspeckle.training.bank import check_head

PACKAGED = "efficientnet-lite0"


def settled(
    recipe: Recipe | None, budget: str | None, settings: Mapping[str, Any] | None
) -> Recipe:
    """The recipe with settings applied and names checked, before any image is read.

    Args:
        recipe: None is where the task that the settings name starts from.
    """
    if recipe is None:
        recipe = start_of(str((settings or {}).get("task", Recipe().task)))
    if budget is not None:
        settings = {**(settings or {}), "training.budget_seconds": seconds_of(budget)}
    if settings:
        recipe = recipe.changed(settings)
    task: type[Task[Any]] = TASKS.load(recipe.task)
    _check_head(recipe, task)
    if recipe.model is not None and recipe.model not in ("auto", *ENCODERS):
        _facts(recipe.model)
    check_loss(recipe.loss, recipe.training.smoothing)
    _check_device(recipe.training.device)
    _check_ranges(recipe)
    _check_mixing(recipe)
    check_names(recipe.training.augment or ())
    return recipe


def start_of(task: str) -> Recipe:
    """The recipe that a task starts from."""
    asked: type[Task[Any]] = TASKS.load(task)
    return Recipe(task=task).changed(asked.learning.settings)


def fit_of(recipe: Recipe) -> Fit:
    """How an image becomes what the network sees."""
    data = recipe.data
    return Fit(data.image_size or 224, data.resize, data.image_width, data.looks)


def suited(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with what the data decide: the network's name, the size of images, frozen or not.

    Raises:
        UsageError: the network does not read what the dataset holds.
    """
    if TASKS.load(recipe.task).learning.keeps_backbone:
        _check_kept(recipe, dataset)
    if recipe.model == "auto":
        recipe = replace(recipe, model=None)
    brought = TASKS.load(recipe.task).learning.brings
    if brought is not None:
        return _suited_to_own(recipe, dataset, brought)
    if dataset.reads != "images":
        return _suited_encoder(recipe, dataset)
    task: type[Task[Any]] = TASKS.load(recipe.task)
    model = recipe.model or task.learning.model or PACKAGED
    facts = _facts(model)
    smallest = facts.get("smallest", 1)
    if recipe.data.image_size is not None and recipe.data.image_size < smallest:
        raise UsageError(
            f"{model} needs images of {smallest} pixels a side or more, found --imgsz "
            f"{recipe.data.image_size}. Small images are enlarged: leave --imgsz out."
        )
    pretrained = is_pretrained(model, recipe.weights)
    if recipe.freeze and not pretrained:
        raise UsageError(
            f"{model} has no trained weights to freeze. Give some with --weights FILE, or "
            "train it from scratch with --freeze no."
        )
    if task.learning.keeps_backbone:
        return _suited_to_features(recipe, task, model, pretrained)
    if not issubclass(task, ClassTask):
        return _suited_to_places(recipe, dataset, task, model)
    size = recipe.data.image_size
    if size is None:
        size = facts.get("image_size", 224)
        if facts.get("adapts"):
            size = max(smallest, min(size, typical_side(dataset) or size))
    freeze = pretrained if recipe.freeze is None else recipe.freeze
    if freeze:
        _check_frozen(recipe, model)
    return replace(recipe, model=model, freeze=freeze, data=replace(recipe.data, image_size=size))


def _suited_to_own(recipe: Recipe, dataset: Dataset, brought: str) -> Recipe:
    """For a task that brings its network: there is nothing to choose, nothing is frozen."""
    if recipe.model not in (None, brought):
        raise UsageError(
            f"The task {recipe.task} brings its own network, {brought}; leave --model out."
        )
    if recipe.freeze or recipe.weights:
        raise UsageError(f"{brought} is trained from scratch; leave --freeze and --weights out.")
    data = recipe.data
    if data.image_size is None:
        task: type[Task[Any]] = TASKS.load(recipe.task)
        data = replace(data, image_size=task.shape_for(typical_shape(dataset))[0])
    return replace(recipe, model=brought, freeze=False, data=data)


def _check_kept(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse what a task that keeps its backbone as it is cannot do."""
    if dataset.reads != "images":
        raise DataError(f"{dataset.root} holds {dataset.reads}, and {recipe.task} is about images.")
    if recipe.model == "auto" or recipe.freeze is False or recipe.finetune:
        raise UsageError(
            f"The task {recipe.task} learns on the fixed features of a trained network; leave "
            "--model auto, --freeze no and finetune out."
        )


def _suited_to_features(
    recipe: Recipe, task: type[Task[Any]], model: str, pretrained: bool
) -> Recipe:
    """For a task that keeps its backbone: whole images, as large as the network likes them."""
    if not pretrained:
        raise UsageError(
            f"The task {recipe.task} needs a trained network, and {model} has no trained weights. "
            "Leave --model out, or give some with --weights FILE."
        )
    _check_frozen(recipe, model)
    size = recipe.data.image_size or task.shape_for(None)[0]
    return replace(recipe, model=model, freeze=True, data=replace(recipe.data, image_size=size))


def _suited_to_places(
    recipe: Recipe, dataset: Dataset, task: type[Task[Any]], model: str
) -> Recipe:
    """For a task that says where things stand: nothing is frozen, and images keep their shape."""
    if recipe.freeze:
        raise UsageError(f"The task {recipe.task} trains its network; leave --freeze yes out.")
    data = recipe.data
    if data.image_size is None:
        high, wide = task.shape_for(typical_shape(dataset))
        data = replace(data, image_size=high, image_width=None if high == wide else wide)
    return replace(recipe, model=model, freeze=False, data=data)


def _check_head(recipe: Recipe, task: type[Task[Any]]) -> None:
    if issubclass(task, ClassTask):
        check_head(recipe.head)
    elif not task.learning.heads and recipe.head != "auto":
        raise UsageError(f"The task {recipe.task} has one head of its own; leave --head out.")
    elif recipe.head not in ("auto", *task.learning.heads):
        hint = nearest(recipe.head, task.learning.heads) or "."
        raise UsageError(
            f"The task {recipe.task} has no head '{recipe.head}'{hint} "
            f"Known: auto, {', '.join(task.learning.heads)}."
        )


def _check_frozen(recipe: Recipe, model: str) -> None:
    """Refuse choices that only a loop could heed, rather than pass over them."""
    training, usual = recipe.training, Recipe()
    chosen = [
        n
        for n in ("loss", "pool", "positions", "dropout")
        if getattr(recipe, n) != getattr(usual, n)
    ]
    chosen += [n for n in ("augment", "mixup", "cutmix", "smoothing") if getattr(training, n)]
    if chosen:
        raise UsageError(
            f"A head on the fixed features of {model} is solved, not trained step by step, so it "
            f"has no use for: {', '.join(chosen)}. Leave these out, or train the network with "
            "--freeze no."
        )


def _suited_encoder(recipe: Recipe, dataset: Dataset) -> Recipe:
    task: type[Task[Any]] = TASKS.load(recipe.task)
    if task.says_where:
        raise UsageError(
            f"The task {recipe.task} says where things are in images, and {dataset.root} holds "
            f"{dataset.reads}."
        )
    read = "sequences" if dataset.reads == "clips" else dataset.reads  # frames are steps
    fitting = [n for n in ENCODERS if ENCODERS.row(n).facts.get("reads", "sequences") == read]
    model = recipe.model or fitting[0]
    if model not in fitting:
        raise UsageError(
            f"{dataset.root} holds {dataset.reads}, which {model} does not read. "
            f"These do: {', '.join(fitting)}."
        )
    if recipe.freeze:
        raise UsageError(f"{model} has no trained weights to freeze; train it with --freeze no.")
    return replace(recipe, model=model, freeze=False)


def _facts(model: str) -> Mapping[str, Any]:
    return {} if model.startswith("timm:") else BACKBONES.row(model).facts


def check_ruled(recipe: Recipe) -> None:
    """Refuse what contradicts the one loss that rules are trained by.

    Raises:
        UsageError: another task, focal or balanced loss, smoothing, mixed images, several networks.
    """
    if recipe.task not in RULED:
        known = ", ".join(RULED)
        raise UsageError(
            f"The task {recipe.task} cannot be trained under rules. These can: {known}."
        )
    wanted = [n for n in ("mixup", "cutmix", "smoothing") if getattr(recipe.training, n)]
    if recipe.loss in ("focal", "balanced"):
        wanted.append(f"--loss {recipe.loss}")
    if wanted:
        raise UsageError(
            f"Under rules the loss is {RULED_WORDS}; {' and '.join(wanted)} would train for "
            "something else. Leave that out, or the rules."
        )
    if recipe.model == "auto":
        raise UsageError("--model auto compares networks without rules; name one with --model.")


def _check_mixing(recipe: Recipe) -> None:
    mixed = [n for n in ("mixup", "cutmix") if getattr(recipe.training, n)]
    if mixed and recipe.training.batch_size == "full":
        raise UsageError(f"{mixed[0]} mixes images anew each time; give a number as batch size.")
    if mixed and recipe.task == "translate":
        raise UsageError(f"{mixed[0]} mixes images, and strings cannot be mixed; leave it out.")


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
            (
                "data.image_width",
                recipe.data.image_width,
                _between(1, 4096),
                "from 1 to 4096 pixels",
            ),
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
            ("training.mixup", recipe.training.mixup, _between(0, 10), "from 0 to 10"),
            ("training.cutmix", recipe.training.cutmix, _between(0, 10), "from 0 to 10"),
            ("dropout", recipe.dropout, _between(0, 0.99), "in [0, 1)"),
            ("unknown_share", recipe.unknown_share, _between(0, 0.99), "in [0, 1)"),
            ("false_accepts", recipe.false_accepts, _between(1e-6, 0.5), "from 0.000001 to 0.5"),
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
