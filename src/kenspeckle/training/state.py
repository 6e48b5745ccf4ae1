"""What one update leaves behind, and all that is needed to go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kenspeckle.errors import UsageError

if TYPE_CHECKING:
    from kenspeckle.training.loop import Run


@dataclass
class State:
    """A snapshot of a run between two updates; plain values and tensors of its own.

    Args:
        step: updates done.
        updates_per_epoch: so that epoch and position follow from `step`.
        network: its `state_dict`.
        optimisers: player -> `state_dict` of its optimiser.
        average: averaged weights by name, or None without averaging.
        schedule: what `Schedule.state` gave.
    """

    step: int
    updates_per_epoch: int
    network: dict[str, Tensor]
    optimisers: dict[str, dict[str, Any]]
    average: dict[str, Tensor] | None
    schedule: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, as a checkpoint stores them."""
        return dict(vars(self))


@dataclass(frozen=True)
class Step:
    """One finished update.

    Args:
        step: updates done, this one included.
        epoch: of this update, counted from 0.
        losses: player -> loss before the update, penalties included.
        learning_rate: of this update.
        gradient_norm: before clipping; None when the recipe does not clip.
    """

    step: int
    epoch: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float | None
    run: Run = field(repr=False, compare=False)

    @property
    def loss(self) -> float:
        """The sum over players; for most tasks there is one."""
        return sum(self.losses.values())

    @property
    def ends_epoch(self) -> bool:
        """Whether every image was seen once more."""
        return self.step % self.run.updates_per_epoch == 0

    def state(self) -> State:
        """A snapshot of now; call it before the next update."""
        run = self.run
        return State(
            step=run.done,
            updates_per_epoch=run.updates_per_epoch,
            network=copied(dict(run.network.state_dict())),
            optimisers={p.name: copied(p.optimiser.state_dict()) for p in run.players},
            average=copied(run.average.values) if run.average else None,
            schedule=run.schedule.state(),
        )

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's `state_dict`, averaged where the recipe averages."""
        averaged = self.run.average.values if self.run.average else {}
        return copied({**self.run.network.state_dict(), **averaged})


def copied(tree: Any) -> Any:
    """The same nested dicts, lists and tuples with tensors of their own (strides kept)."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(copied(value) for value in tree)
    return tree


def restore(optimiser: Optimizer, saved: Mapping[str, Any]) -> None:
    """Load an optimiser's state, each tensor in the memory order of its parameter.

    A checkpoint stores plain row-major tensors; the same numbers in another order would be summed
    in another order, and the last bit could differ.
    """
    optimiser.load_state_dict(copied(dict(saved)))
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def matching(network: nn.Module, state: State, updates_per_epoch: int) -> None:
    """Refuse a state of another network or another data set.

    Raises:
        UsageError: names, shapes or the number of updates an epoch differ.
    """
    found = {name: tuple(tensor.shape) for name, tensor in state.network.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if found != expected:
        name = next(n for n in {**expected, **found} if found.get(n) != expected.get(n))
        raise UsageError(
            f"The saved run is of another network: {name} is {found.get(name, 'absent')} there and "
            f"{expected.get(name, 'absent')} here. Resume with the model the run was started with."
        )
    if state.updates_per_epoch != updates_per_epoch:
        raise UsageError(
            f"The saved run had {state.updates_per_epoch} updates an epoch, this one has "
            f"{updates_per_epoch}. Resume with the same images and the same batch size."
        )
