"""Labels of which an image may have several, said as rules permit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.knowledge.compiled import Compiled
from kenspeckle.knowledge.rules import Rules
from kenspeckle.tasks.tag import Tag
from kenspeckle.tasks.task import Sizes


class RuledTag(Tag):
    """Any of K that a rules file permits together.

    An image bears all its labels, so -log p_net(labels and rules) is the cross-entropy of each, as
    without rules. Answers are p(labels | rules).

    Args:
        rules: as `Rules.kept` writes it.
        (the others as in `Tag`)
    """

    rules: Rules

    def __init__(self, classes: Sequence[str], *, rules: Mapping[str, Any], **others: Any) -> None:
        super().__init__(classes, **others)
        self.rules = Rules.carried(rules)

    @cached_property
    def _compiled(self) -> Compiled:
        return self.rules.compile(self.classes)

    def distribution(self, rules: Rules) -> Compiled:
        """Its own, for its own rules."""
        return self._compiled if rules is self.rules else super().distribution(rules)

    def alone(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """What each label's probability says by itself."""
        return super().decode(outputs, paths, sizes)

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """One answer a row of logits (B, K), which keeps the rules."""
        alone = self.alone(outputs, paths)
        return self.own_rules.answers(torch.nn.Identity(), outputs, outputs, alone)

    def meant(self, answer: Answer) -> str | None:
        """The labels that were said."""
        return answer.label

    def kept(self) -> dict[str, Any]:
        """Temperature, thresholds and the rules."""
        return {**super().kept(), "rules": self.rules.kept()}
