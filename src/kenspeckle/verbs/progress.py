"""How a verb says where it stands, to whoever asked: a terminal, a server, nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One moment of a long verb.

    Args:
        name: what is going on, such as `reading images`.
        done, total: of this stage; 0 of 0 for something said once.
        words: a sentence worth keeping on the screen; empty for mere progress.
        seconds_left: of this stage, where it is known better than from done and total.
    """

    name: str
    done: int = 0
    total: int = 0
    words: str = ""
    seconds_left: float | None = None


Tell = Callable[[Stage], None]


def quiet(stage: Stage) -> None:
    """Tell nobody."""


def counter(tell: Tell, name: str) -> Callable[[int, int], None]:
    """A (done, total) callback that reports as the stage `name`."""
    return lambda done, total: tell(Stage(name, done, total))
