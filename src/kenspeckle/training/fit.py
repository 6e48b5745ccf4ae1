"""One whole training run: the loop, the tuning loss, early stopping, time, and snapshots."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kenspeckle.data.batch import Batches
from kenspeckle.errors import UsageError
from kenspeckle.recipe import Training
from kenspeckle.tasks.task import Task
from kenspeckle.training.budget import Deadline
from kenspeckle.training.checkpoint import load_latest, save
from kenspeckle.training.loop import Augment, total_steps, train
from kenspeckle.training.schedules import make_schedule
from kenspeckle.training.state import State, Step, copied

# the network, in eval mode, with its best guess at the weights -> how good they are
Tune = Callable[[nn.Module], "float | Measured"]
# the same at the end of each epoch, counted from 1, for whoever watches
Look = Callable[[nn.Module, int], None]

FIRST_SAVE_SECONDS = 5.0  # shorter runs are repeated sooner than resumed
SAVE_SHARE = 0.05  # of the time, at most, goes into snapshots


@dataclass(frozen=True)
class EpochRow:
    """One line of `results.csv`; epochs count from 1."""

    epoch: int
    step: int
    train_loss: float
    tune_loss: float | None
    learning_rate: float
    seconds: float
    train_accuracy: float | None = None
    tune_accuracy: float | None = None
    tune_n: int | None = None


@dataclass(frozen=True)
class Measured:
    """What the tuning images say of the weights at the end of an epoch.

    Args:
        loss: by which training is stopped; lower is better.
        tune_accuracy: share of the `tune_n` tuning images that are answered right, in [0, 1]; None
            where a task knows no such share.
        train_accuracy: the same of training images, unchanged ones and without dropout, so that
            the two can be compared.
    """

    loss: float
    train_accuracy: float | None = None
    tune_accuracy: float | None = None
    tune_n: int | None = None


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Args:
        epoch: counted from 1.
        step, total_steps: updates done, and of a run that is not stopped early.
        train_loss: mean over the updates of this epoch so far; nan before the first.
        tune_loss: on the tuning images; only after the last update of an epoch.
        learning_rate: of the last update.
        seconds: since the run began, the time before a resume included.
        seconds_left: an estimate; early stopping may end the run sooner.
        stopped: None while it runs; in the last one, why it ended, in words.
        history: a row for each finished epoch.
        notes: what was passed over while resuming.
    """

    epoch: int
    step: int
    total_steps: int
    train_loss: float
    tune_loss: float | None
    learning_rate: float
    seconds: float
    seconds_left: float
    stopped: str | None
    history: Sequence[EpochRow]
    notes: Sequence[str] = ()


def fit(
    network: nn.Module,
    task: Task[Any],
    batches: Batches,
    tune: Tune | None,
    recipe: Training,
    folder: Path | None,
    *,
    resume: bool = False,
    augment: Augment | None = None,
    look: Look | None = None,
) -> Iterator[Progress]:
    """Train to the end, yielding after every update and once more when it is over.

    Parts of the network without a trainable parameter are put into eval mode, the rest into train
    mode. At the end, also when interrupted (Ctrl-C) or closed, the network holds the weights with
    the lowest tuning loss; without `tune`, the last ones; averaged where the recipe averages.
    `recipe.steps` is exact: early stopping is off then. A time budget ends the run before it is
    used up, after at least one update.

    Args:
        tune: how the weights are measured at the end of an epoch; None measures nothing.
        folder: where snapshots go; None takes none.
        augment: as in `train`.
        look: sees the network at the end of each epoch, and changes nothing.
        resume: continue from the newest whole snapshot in `folder`; from the start if none is.

    Raises:
        TrainingDiverged: the loss is no longer a number (the best weights are put back first).
        UsageError: the snapshot is of a run with other choices.
        StorageError: a snapshot cannot be written.
    """
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    set_modes(network)
    run = _Fit(network, batches, tune, recipe, folder, look)
    if resume:
        run.take_up()
    stopped = ""
    try:
        schedule = make_schedule(recipe.schedule)
        steps = train(
            network,
            task,
            batches,
            recipe,
            schedule=schedule,
            progress=run.share,
            state=run.start,
            augment=augment,
        )
        for step in steps:
            run.count(step)
            tune_loss = None
            stopped = run.should_stop()
            if step.ends_epoch or step.step == run.total or stopped:
                tune_loss = run.end_epoch(step)
                schedule.observe(run.history[-1].train_loss if tune_loss is None else tune_loss)
                stopped = stopped or run.out_of_patience()
            run.maybe_save(step, stopped)
            yield run.progress(tune_loss)
            if stopped:
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        run.put_back_best()
    yield run.progress(None, stopped or run.finished())


class _Fit:
    """What `fit` remembers between updates."""

    def __init__(
        self,
        network: nn.Module,
        batches: Batches,
        tune: Tune | None,
        recipe: Training,
        folder: Path | None,
        look: Look | None,
    ) -> None:
        self.network, self.tune, self.recipe, self.folder = network, tune, recipe, folder
        self.look = look
        self.total = total_steps(recipe, len(batches))
        self.per_epoch = max(1, len(batches))
        self.deadline = Deadline(recipe.budget_seconds)
        self.start: State | None = None
        self.step: Step | None = None
        self.history: list[EpochRow] = []
        self.notes: list[str] = []
        self.best: dict[str, Tensor] | None = None
        self.best_loss, self.waited = math.inf, 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.started_at_step, self.seconds_before = 0, 0.0
        self.began = self.saved_at = time.monotonic()
        self.save_cost, self.tune_cost = 0.0, 0.0

    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.began

    def share(self, done: int) -> float:
        """How much of the run is over: by updates, or by time where that is further."""
        return max(done / self.total, self.deadline.used(reserve=self.tune_cost))

    def count(self, step: Step) -> None:
        if self.step is not None and self.step.epoch != step.epoch:
            self.loss_sum, self.loss_count = 0.0, 0
        self.step = step
        self.loss_sum, self.loss_count = self.loss_sum + step.loss, self.loss_count + 1

    def should_stop(self) -> str:
        if self.deadline.used(reserve=self.tune_cost) >= 1:
            return f"the time budget of {self.recipe.budget_seconds:g} s is used"
        return ""

    def out_of_patience(self) -> str:
        if self.recipe.steps is None and 0 < self.recipe.patience <= self.waited:
            return f"no better tuning loss for {self.waited} epochs"
        return ""

    def finished(self) -> str:
        if self.recipe.steps is not None:
            return f"all {self.total} updates done"
        return f"all {self.recipe.epochs} epochs done"

    def end_epoch(self, step: Step) -> float | None:
        """Measure, keep the best, write the row."""
        weights, tune_loss = step.weights(), None
        shares: tuple[float | None, float | None, int | None] = (None, None, None)
        if self.tune is not None:
            start = time.monotonic()
            with holding(self.network, weights):
                found = self.tune(self.network)
            found = found if isinstance(found, Measured) else Measured(float(found))
            tune_loss = found.loss
            shares = (found.train_accuracy, found.tune_accuracy, found.tune_n)
            self.tune_cost = time.monotonic() - start
            better = tune_loss < self.best_loss  # never true of nan
            self.waited = 0 if better else self.waited + 1
            if better or self.best is None:
                self.best, self.best_loss = weights, tune_loss if better else math.inf
        else:
            self.best = weights if self.recipe.averaging else None
        if self.look is not None:
            with holding(self.network, weights):
                self.look(self.network, step.epoch + 1)
        mean = self.loss_sum / self.loss_count
        row = (step.epoch + 1, step.step, mean, tune_loss, step.learning_rate, self.seconds())
        self.history.append(EpochRow(*row, *shares))
        return tune_loss

    def put_back_best(self) -> None:
        """Leave the best weights in the network; the newest when none was measured."""
        if self.best is None and self.step is not None and self.recipe.averaging:
            self.best = self.step.weights()
        if self.best is not None:
            self.network.load_state_dict(self.best)

    def maybe_save(self, step: Step, stopped: str) -> None:
        """Take a snapshot when the last one is long enough ago for its cost."""
        since = time.monotonic() - self.saved_at
        wait = max(FIRST_SAVE_SECONDS, self.save_cost / SAVE_SHARE)
        if self.folder is None or stopped or step.step == self.total or since < wait:
            return
        start = time.monotonic()
        save(self.folder, {"loop": step.state().as_dict(), "fit": self.as_dict()}, step.step)
        self.saved_at = time.monotonic()
        self.save_cost = self.saved_at - start

    def as_dict(self) -> dict[str, Any]:
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "history": [list(vars(row).values()) for row in self.history],
            "best": self.best,
            "best_loss": self.best_loss,
            "waited": self.waited,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "seconds": self.seconds(),
        }

    def take_up(self) -> None:
        """Continue the newest whole snapshot, if there is one.

        Raises:
            UsageError: it is of a run with other choices.
        """
        if self.folder is None:
            raise UsageError("There is no folder to resume from; name the run's folder.")
        tree, self.notes = load_latest(self.folder)
        if tree is None:
            return
        saved = tree["fit"]
        _same_recipe(saved["recipe"], dataclasses.asdict(self.recipe), self.folder)
        self.start = State(**tree["loop"])
        self.started_at_step, self.seconds_before = self.start.step, saved["seconds"]
        self.deadline = Deadline(self.recipe.budget_seconds, spent=saved["seconds"])
        self.history = [EpochRow(*row) for row in saved["history"]]
        self.best, self.best_loss, self.waited = saved["best"], saved["best_loss"], saved["waited"]
        if self.start.step % self.per_epoch:
            self.loss_sum, self.loss_count = saved["loss_sum"], saved["loss_count"]

    def progress(self, tune_loss: float | None, stopped: str | None = None) -> Progress:
        step = self.step
        done = self.started_at_step if step is None else step.step
        return Progress(
            epoch=min(done - 1, self.total) // self.per_epoch + 1 if done else 0,
            step=done,
            total_steps=self.total,
            train_loss=self.loss_sum / self.loss_count if self.loss_count else math.nan,
            tune_loss=tune_loss,
            learning_rate=math.nan if step is None else step.learning_rate,
            seconds=self.seconds(),
            seconds_left=0.0 if stopped else self.seconds_left(done),
            stopped=stopped,
            history=self.history,
            notes=self.notes,
        )

    def seconds_left(self, done: int) -> float:
        pace = (time.monotonic() - self.began) / max(1, done - self.started_at_step)
        return min(pace * (self.total - done), self.deadline.seconds_left())


def set_modes(network: nn.Module) -> None:
    """Train mode, but eval mode for parts whose parameters are all frozen.

    So a frozen backbone's batch normalisation keeps its statistics and its dropout is off.
    """
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


@contextmanager
def holding(network: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """The network with `weights`, in eval mode; afterwards it is as before, modes too."""
    modes = {module: module.training for module in network.modules()}
    before = copied(dict(network.state_dict()))
    network.load_state_dict(weights)
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.load_state_dict(before)
        for module, mode in modes.items():
            module.training = mode


def _same_recipe(saved: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    free = {"budget_seconds"}  # more time may be given to a run that was cut short
    differ = [key for key in now if key not in free and saved.get(key) != now[key]]
    if differ:
        said = "; ".join(f"{key} was {saved.get(key)!r}, is {now[key]!r}" for key in differ)
        raise UsageError(
            f"The run in {folder} was started with other choices ({said}). "
            "Resume with the same ones, or start a new run."
        )
