"""The training loop: one generator that yields after every update, and nothing else.

It knows of devices, precision and averaging; it knows nothing of logging, saving, early stopping or
time. Who calls it does these between two updates (`fit.py`).

Before update s (counted from 0) torch's generator is seeded with a hash of (recipe.seed, s), so
dropout depends on seed and step alone and a resumed run makes the same numbers as one that was
never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kenspeckle.data.batch import Batch, Batches
from kenspeckle.errors import EmptyDataset, KenError, UsageError
from kenspeckle.recipe import Training
from kenspeckle.tasks.task import Task
from kenspeckle.training.averaging import Average
from kenspeckle.training.optimisers import default_learning_rate, make_optimiser
from kenspeckle.training.penalties import l1_penalty, l2_penalty, weights_of
from kenspeckle.training.schedules import Schedule
from kenspeckle.training.state import State, Step, matching, restore

Augment = Callable[[Batch], Batch]


class TrainingDiverged(KenError):
    """The loss is no longer a number."""


def total_steps(recipe: Training, updates_per_epoch: int) -> int:
    """Updates of a whole run: `recipe.steps` where given, else all epochs."""
    return recipe.epochs * updates_per_epoch if recipe.steps is None else recipe.steps


def train(
    network: nn.Module,
    task: Task[Any],
    batches: Batches,
    recipe: Training,
    *,
    schedule: Schedule,
    progress: Callable[[int], float] | None = None,
    state: State | None = None,
    augment: Augment | None = None,
) -> Iterator[Step]:
    """Train `network` in place; yield after each update until `total_steps` are done.

    An update of several pieces is exact: each loss counts by its share of the image weights. The
    literal penalties are added once an update. Weight decay is decoupled for every optimiser,
    w <- w * (1 - rate * decay) before the step (Loshchilov and Hutter 2019, arXiv:1711.05101), and
    acts, like the penalties, on parameters of two dimensions or more. L-BFGS alone, which must see
    one unchanging function, has it as decay / 2 * sum w^2 in the loss. Modules stay in the mode
    (train or eval) in which they are given.

    Args:
        schedule: share of the learning rate at a moment of the run.
        progress: updates done -> share of the run that is over; None is done / total.
        state: continue with the update after this one, in the middle of an epoch too.
        augment: changes the batches of an update, after the seed of that update was set.

    Raises:
        TrainingDiverged: the loss or the gradient is infinite or not a number.
        UsageError: choices that do not go together, or a state of another network.
        EmptyDataset: there is no image.
    """
    if len(batches) == 0:
        raise EmptyDataset("There is no image to train on.")
    check_exactness(network, batches)
    total = total_steps(recipe, len(batches))
    run = Run(
        network,
        task,
        recipe,
        schedule,
        len(batches),
        progress or (lambda done: done / total),
        augment,
    )
    if state is not None:
        run.load(state)
    while run.done < total:
        epoch, skip = divmod(run.done, len(batches))
        for pieces in batches.epoch(epoch, skip=skip):
            yield run.update(pieces)
            if run.done >= total:
                return


class Player:
    """A part of the network with the optimiser that trains it."""

    def __init__(self, name: str, part: nn.Module, recipe: Training, rate: float) -> None:
        self.name = name
        self.parameters = [p for p in part.parameters() if p.requires_grad]
        self.weights: list[Tensor] = [*weights_of(part)]
        self.optimiser = make_optimiser(recipe.optimiser, self.parameters, rate)


class Run:
    """What lives as long as one call of `train`."""

    def __init__(
        self,
        network: nn.Module,
        task: Task[Any],
        recipe: Training,
        schedule: Schedule,
        updates_per_epoch: int,
        progress: Callable[[int], float],
        augment: Augment | None = None,
    ) -> None:
        self.augment = augment
        self.network = network.to(recipe.device)
        if recipe.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task, self.recipe, self.schedule = task, recipe, schedule
        self.updates_per_epoch, self.progress, self.done = updates_per_epoch, progress, 0
        self.rate = recipe.learning_rate or default_learning_rate(recipe.optimiser)
        parts = task.players(network)
        self.players = [Player(name, part, recipe, self.rate) for name, part in parts.items()]
        self.average = Average(network, recipe.averaging) if recipe.averaging else None
        _check_lbfgs(recipe)

    def update(self, pieces: list[Batch]) -> Step:
        """Let every player take one step on the images of `pieces`."""
        _seed(self.recipe, self.done)
        rate = self.rate * self.schedule.factor(min(1.0, self.progress(self.done)))
        if self.augment is not None:
            pieces = [self.augment(piece) for piece in pieces]
        placed = [self._place(piece) for piece in pieces]
        losses: dict[str, float] = {}
        norms: list[float] = []
        for player in self.players:
            losses[player.name], norm = self._step(player, placed, rate)
            norms += [] if norm is None else [norm]
        self.done += 1
        if self.average is not None:
            self.average.update(self.done)
        epoch = (self.done - 1) // self.updates_per_epoch
        return Step(self.done, epoch, losses, rate, max(norms, default=None), self)

    def _step(self, player: Player, pieces: list[Batch], rate: float) -> tuple[float, float | None]:
        recipe, norm = self.recipe, None
        for group in player.optimiser.param_groups:
            group["lr"] = rate
        if recipe.optimiser == "lbfgs":
            return float(player.optimiser.step(lambda: self._gradient(player, pieces, rate))), None
        loss = self._gradient(player, pieces, rate)
        if recipe.clip is not None:
            norm = float(nn.utils.clip_grad_norm_(player.parameters, recipe.clip))
            _check_finite(norm, "gradient", self.done, rate)
        if recipe.weight_decay:
            with torch.no_grad():
                torch._foreach_mul_(player.weights, 1 - rate * recipe.weight_decay)
        player.optimiser.step()
        return loss, norm

    def _gradient(self, player: Player, pieces: list[Batch], rate: float) -> float:
        """Leave the gradient of the whole update in the parameters; return the loss."""
        player.optimiser.zero_grad(set_to_none=True)
        loss = 0.0
        for piece, share in zip(pieces, _shares(pieces), strict=True):
            if share == 0:
                continue
            with self._precision():
                value = self.task.loss(self.network, piece, player.name) * share
            value.backward()
            loss += value.item()
        loss += self._penalise(player)
        _check_finite(loss, "loss", self.done, rate)
        return loss

    def _penalise(self, player: Player) -> float:
        recipe, loss = self.recipe, 0.0
        l2 = recipe.l2 + (recipe.weight_decay / 2 if recipe.optimiser == "lbfgs" else 0.0)
        for strength, penalty in ((recipe.l1, l1_penalty), (l2, l2_penalty)):
            if strength and player.weights:
                value = strength * penalty(player.weights)
                value.backward()
                loss += value.item()
        return loss

    def _place(self, piece: Batch) -> Batch:
        """The piece on the device, its images in the memory order that is fastest."""
        if self.recipe.device != "cpu":
            piece = piece.to(self.recipe.device)
        if self.recipe.channels_last and piece.images.ndim == 4:
            images = piece.images.contiguous(memory_format=torch.channels_last)
            piece = Batch(images, piece.targets, piece.weights, piece.rows)
        return piece

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(
            torch.device(self.recipe.device).type,
            dtype=torch.bfloat16,
            enabled=self.recipe.precision == "bfloat16",
        )

    def load(self, state: State) -> None:
        """Stand where `state` was taken."""
        matching(self.network, state, self.updates_per_epoch)
        self.network.load_state_dict(state.network)
        for player in self.players:
            restore(player.optimiser, state.optimisers[player.name])
        if self.average is not None and state.average is not None:
            self.average.load(state.average)
        self.schedule.load(state.schedule)
        self.done = state.step


def check_exactness(network: nn.Module, batches: Batches) -> None:
    """Refuse a full-batch update whose pieces would not add up to the gradient of the whole.

    Raises:
        UsageError: `batch_size="full"` with dropout, or with batch normalisation in several pieces.
    """
    if batches.batch_size != "full":
        return
    pieces = -(-len(batches.images) // batches.piece)
    for name, module in network.named_modules():
        if not module.training:
            continue
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and pieces > 1:
            raise UsageError(
                f"batch_size 'full' would not be exact: {name} ({type(module).__name__}) would "
                f"normalise each of the {pieces} pieces by itself. Freeze the backbone, choose a "
                "model without batch normalisation, or give a number as batch size."
            )
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            raise UsageError(
                f"batch_size 'full' would not be exact: {name} drops values at random "
                f"(p = {module.p}). Set dropout to 0 or give a number as batch size."
            )


def _check_lbfgs(recipe: Training) -> None:
    if recipe.optimiser != "lbfgs":
        return
    if recipe.batch_size != "full":
        raise UsageError(
            "L-BFGS compares gradients of one unchanging function, so it needs every image in "
            f"every update; batch_size is {recipe.batch_size}. Set batch_size to 'full'."
        )
    if recipe.clip is not None:
        raise UsageError("L-BFGS chooses its step by a line search; remove clip.")


def _shares(pieces: list[Batch]) -> list[float]:
    """How much each piece counts: its share of the image weights; they sum to 1."""
    if len(pieces) == 1:
        return [1.0]
    weights = [float(piece.weights.sum(dtype=torch.float64)) for piece in pieces]
    return [weight / sum(weights) for weight in weights]


def _check_finite(value: float, what: str, done: int, rate: float) -> None:
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"The {what} is {value} at update {done + 1}, with a learning rate of {rate:.3g}. "
            f"Try a learning rate of {rate / 10:.1g}, or clip the gradient (clip: 1.0)."
        )


def _seed(recipe: Training, step: int) -> None:
    """Seed torch from (seed, step), mixed by NumPy's SeedSequence."""
    word = np.random.SeedSequence([recipe.seed, step]).generate_state(1, np.uint64)[0]
    # torch.manual_seed also queues a call for every absent accelerator: 30 times slower on CPU.
    torch.default_generator.manual_seed(int(word))
    if recipe.device != "cpu":
        torch.manual_seed(int(word))
