"""How the learning rate moves: each schedule is a function from progress to a share of the peak."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kenspeckle.errors import UsageError, nearest


class Schedule(ABC):
    """A share of the recipe's learning rate for every moment of a run.

    Progress is the share of the run that is over, in [0, 1]: updates done / all updates, or, under
    a time budget, the share of the time. So one schedule serves both.
    """

    @abstractmethod
    def factor(self, progress: float) -> float:
        """What the learning rate is multiplied by, in [0, 1]."""

    def observe(self, tuning_loss: float) -> None:  # noqa: B027 (most have nothing to do)
        """Hear the loss on the tuning images, once an epoch; only `Plateau` listens."""

    def state(self) -> dict[str, Any]:
        """What a resumed run must know; nothing for a pure function."""
        return {}

    def load(self, state: dict[str, Any]) -> None:  # noqa: B027 (most have nothing to do)
        """Take over what `state` gave."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate from beginning to end."""

    def factor(self, progress: float) -> float:
        """Always 1."""
        return 1.0


@dataclass(frozen=True)
class StepDown(Schedule):
    """The rate is multiplied by `gamma` after each of `stages` equal parts of the run.

    >>> [round(StepDown().factor(t), 4) for t in (0.0, 0.3, 0.4, 0.7)]
    [1.0, 1.0, 0.1, 0.01]
    """

    stages: int = 3
    gamma: float = 0.1

    def factor(self, progress: float) -> float:
        """`gamma` to the number of finished stages."""
        finished = math.floor(progress * self.stages + 1e-9)  # 1e-9: k/T*3 may fall below k
        return self.gamma ** min(finished, self.stages - 1)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5).

    >>> [round(Cosine().factor(t), 3) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """

    def factor(self, progress: float) -> float:
        """`(1 + cos(pi t)) / 2`."""
        return (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Warm up to the peak, then cool down to almost nothing, both along half a cosine.

    The shape and numbers are those of `torch.optim.lr_scheduler.OneCycleLR`; momentum stays fixed.

    Args:
        warm: share of the run before the peak.
        start: the first factor.
        end: the last factor.

    Source: Smith and Topin 2018, arXiv:1708.07120.

    >>> [round(OneCycle().factor(t), 3) for t in (0.0, 0.3, 0.65, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """

    warm: float = 0.3
    start: float = 1 / 25
    end: float = 1 / 250_000

    def factor(self, progress: float) -> float:
        """Rising until `warm`, falling after."""
        if progress < self.warm:
            return _along_cosine(self.start, 1.0, progress / self.warm)
        return _along_cosine(1.0, self.end, (progress - self.warm) / (1 - self.warm))


@dataclass
class Plateau(Schedule):
    """The rate falls to a tenth when the tuning loss has not improved for a while.

    Args:
        gamma: what the rate is multiplied by.
        patience: epochs without a better loss that are borne.
        threshold: a loss is better if below best * (1 - threshold).

    The rule of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """

    gamma: float = 0.1
    patience: int = 3  # early stopping waits 10 epochs by default: room for two reductions
    threshold: float = 1e-4
    best: float = math.inf
    waited: int = 0
    reductions: int = 0

    def factor(self, progress: float) -> float:
        """`gamma` to the number of reductions so far."""
        return self.gamma**self.reductions

    def observe(self, tuning_loss: float) -> None:
        """Count the epoch; reduce when patience is over."""
        if tuning_loss < self.best * (1 - self.threshold):
            self.best, self.waited = tuning_loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.reductions, self.waited = self.reductions + 1, 0

    def state(self) -> dict[str, Any]:
        """The best loss, epochs waited, reductions made."""
        return {"best": self.best, "waited": self.waited, "reductions": self.reductions}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.best, self.waited = state["best"], state["waited"]
        self.reductions = state["reductions"]


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "constant": Constant,
    "step": StepDown,
    "cosine": Cosine,
    "one-cycle": OneCycle,
    "plateau": Plateau,
}


def make_schedule(name: str) -> Schedule:
    """A fresh schedule by the name a recipe gives it.

    Raises:
        UsageError: there is none of that name.

    >>> make_schedule("cosine").factor(0.5)
    0.5
    """
    if name not in SCHEDULES:
        hint = nearest(name, SCHEDULES) or "."
        raise UsageError(f"There is no schedule '{name}'{hint} Known: {', '.join(SCHEDULES)}.")
    return SCHEDULES[name]()


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
