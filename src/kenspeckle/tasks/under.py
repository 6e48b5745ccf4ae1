"""A model's answers under rules: the likeliest ones that break no hard rule, and why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Sample
from kenspeckle.knowledge.explained import Explanation
from kenspeckle.tasks.task import Sizes, Task


class Under(ABC):
    """Rules that every answer of a model keeps."""

    @abstractmethod
    def answers(
        self,
        network: nn.Module,
        batch: Tensor,
        outputs: Tensor,
        alone: Sequence[Answer],
        facts: Sequence[Mapping[str, str]] | None = None,
    ) -> list[Answer]:
        """What is said under the rules, beside what was said without.

        Args:
            network: of the model.
            batch: what it sees.
            outputs: what it makes of that.
            alone: what its task says to these.
            facts: of each, the columns of the table that names it.
        """


def answered_under(
    task: Task[Any],
    network: nn.Module,
    batch: Tensor,
    outputs: Tensor,
    samples: Sequence[Sample],
    sizes: Sizes | None = None,
    under: Under | None = None,
) -> list[Answer]:
    """What is said of samples: under the rules that are given, else those of the task, else none.

    Args:
        network, batch, outputs: as in `Under.answers`.
    """
    paths = [sample.path for sample in samples]
    under = under or (None if task.rules is None else task.own_rules)
    if under is None:
        return task.decode(outputs, paths, sizes)
    alone = task.alone(outputs, paths, sizes)
    return under.answers(network, batch, outputs, alone, [sample.facts for sample in samples])


def broken(why: Explanation) -> str:
    """The rules that the network's own answer breaks, in words."""
    return " and ".join(f"{rule.name} says {rule.words}" for rule in why.rules)


def obeyed(
    task: Task[Any], answers: Sequence[Answer], labels: Sequence[str | None]
) -> dict[str, Any]:
    """What rules did to measured answers, as plain values.

    `changed` counts answers whose label is not the network's own, `right` those of them that are
    right, `right_alone` those whose own label was; None where a label has several parts.
    """
    under = [(a, a.rules, t) for a, t in zip(answers, labels, strict=True) if a.rules is not None]
    values = under[0][1]["values"] if under else {}
    single = next((name for name in ("class", "text") if name in values), "")
    # Of attributes that are heard beside a class the network may say other things, unheard here.
    changed = [(a, why["own"], t) for a, why, t in under if single in why["own"] or not single]
    changed = [(a, own, t) for a, own, t in changed if own]
    alone = sum(own[single] == t for _, own, t in changed) if single else None
    return {
        "algorithms": sorted({why["algorithms"] for _, why, _ in under}),
        "answers": len(under),
        "changed": len(changed),
        "right": sum(task.is_right(a, str(t)) for a, _, t in changed),
        "right_alone": alone,
    }
