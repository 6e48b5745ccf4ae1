"""A model's answers under rules: the likeliest ones that break no hard rule, and why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.knowledge.explained import Explanation


class Under(ABC):
    """Rules that every answer of a model keeps."""

    @abstractmethod
    def answers(
        self, network: nn.Module, batch: Tensor, outputs: Tensor, alone: Sequence[Answer]
    ) -> list[Answer]:
        """What is said under the rules, beside what was said without.

        Args:
            network: of the model.
            batch: what it sees.
            outputs: what it makes of that.
            alone: what its task says to these.
        """


def broken(why: Explanation) -> str:
    """The rules that the network's own answer breaks, in words."""
    return " and ".join(f"{rule.name} says {rule.words}" for rule in why.rules)
