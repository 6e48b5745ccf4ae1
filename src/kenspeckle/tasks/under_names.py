"""Rules over the classes or the tags of a model."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import joined_tags
from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge.compiled import Compiled
from kenspeckle.knowledge.costs import cheapest, cost_matrix
from kenspeckle.knowledge.explained import Explanation
from kenspeckle.knowledge.names import CLASS, hint
from kenspeckle.knowledge.rules import Rules
from kenspeckle.tasks.classify import Classify, say
from kenspeckle.tasks.tag import Tag
from kenspeckle.tasks.under import Under, broken
from kenspeckle.words import percent

# p_net(rules) below which a class is unknown, since the rules alone made it: what else a network
# that is 19 times surer of something forbidden says is no answer. Of tags, whose number makes it
# small, nothing is asked.
LEAST = 0.05
LEAST_FACTOR = 1e-9  # of a prior that says never; a hard rule says it better
Told = Mapping[str, str]


class NamesUnder(Under):
    """The network's calibrated beliefs go in, p(answer | rules) comes out.

    Attributes and tags that the model does not hear are silent: they only have to leave an answer
    that is permitted.

    Args:
        task: of the model.
        rules: a file that names its classes or tags.
        side: what is told beside all images: column -> value; or what a person sees: attribute or
            tag -> value, `class` -> a kind.

    Raises:
        UsageError: the model has a class that the rules do not know, or a column is not known.
        DataError: something has no such value.
    """

    task: Classify | Tag

    def __init__(self, task: Classify | Tag, rules: Rules, side: Told) -> None:
        section, known = self.known(rules)
        for name in task.classes:
            if name not in known:
                raise UsageError(
                    f"The model says '{name}', which the `{section}` of {rules.file} do not have"
                    f"{hint(name, known)}"
                )
        columns = [rules.choices[i].name for i in rules.known]
        self.told_columns = (*columns, *(prior.column for prior in rules.priors))
        seen = [name for name in rules.number if name not in columns]
        for name in side:
            if name not in (*self.told_columns, *seen):
                raise UsageError(
                    f"The rules know no column '{name}'{hint(name, self.told_columns)} "
                    "Declare it under `columns:` with its values."
                )
        strange = [leaf for leaf in rules.unseen if leaf not in task.classes]
        if section == "classes" and strange and task.rules is not None:
            raise UsageError(
                f"{rules.file} has the class '{strange[0]}' under `unseen`, which this model was "
                "not trained to know. Train again under these rules."
            )
        self.task = task
        self.side = {name: value for name, value in side.items() if name in self.told_columns}
        told = {name: value for name, value in side.items() if name not in self.told_columns}
        self.compiled: Compiled = task.distribution(rules.with_told(told) if told else rules)

    @staticmethod
    @abstractmethod
    def known(rules: Rules) -> tuple[str, Sequence[str]]:
        """The section of the file that names what such a model says, and the names."""

    @abstractmethod
    def logits(self, outputs: Tensor, told: Sequence[Told]) -> Tensor:
        """(B, D) what the answer is decoded from; what no rule touches is said as before.

        Args:
            told: of each image, as `told` returns.
        """

    @abstractmethod
    def said(self, values: Mapping[str, str]) -> str:
        """Values of a decoded answer -> the label that they stand for."""

    @abstractmethod
    def _answer(self, alone: Answer, marginals: Tensor, why: Explanation, told: Told) -> Answer:
        """What is said of one image."""

    def odds(self, outputs: Tensor, told: Sequence[Told]) -> Tensor:
        """(B, D) what the network believes together with what priors say of it, float64."""
        return self.task.heard(outputs)

    def told(self, facts: Sequence[Mapping[str, str]]) -> list[Told]:
        """What is known of each image: its own columns, and what was told of all."""
        own = ({n: row[n] for n in self.told_columns if n in row} for row in facts)
        return [{**row, **self.side} for row in own]

    def answers(
        self,
        network: nn.Module,
        batch: Tensor,
        outputs: Tensor,
        alone: Sequence[Answer],
        facts: Sequence[Mapping[str, str]] | None = None,
    ) -> list[Answer]:
        """As `Under.answers`, of raw outputs (B, D).

        Raises:
            DataError: a column of an image has a value that the rules do not know.
        """
        told = self.told([{}] * len(outputs) if facts is None else facts)
        marginals = self.compiled.marginals(self.odds(outputs, told).float(), told)
        heard = self.task.heard(outputs).float()
        permitted = self.compiled.log_permitted(heard, told).exp().tolist()
        found = []
        for at, one in enumerate(self.logits(outputs, told).float()):
            why = replace(self.compiled.explain(one, told[at]), permitted=permitted[at])
            found.append(self._answer(alone[at], marginals[at], why, told[at]))
        return found


class ClassesUnder(NamesUnder):
    """One class, by priors, rules and costs.

    Raises:
        DataError: a table of priors does not have the value that is told.
    """

    task: Classify

    def __init__(self, task: Classify, rules: Rules, side: Told) -> None:
        super().__init__(task, rules, side)
        self.costs = cost_matrix(rules.costs, len(rules.leaves)) if rules.costs else None
        self._priors: dict[tuple[str, ...], tuple[Tensor, dict[str, str]]] = {}
        self._prior(self.side)  # what is told of all images is checked before any
        # Attributes that are heard may each be as unsure as the class.
        self.least = LEAST ** len(self.compiled.columns)

    @staticmethod
    def known(rules: Rules) -> tuple[str, Sequence[str]]:
        """The leaves."""
        return "classes", rules.leaves

    def logits(self, outputs: Tensor, told: Sequence[Told]) -> Tensor:
        """Log p of classes times their priors."""
        return self.odds(outputs, told)

    def odds(self, outputs: Tensor, told: Sequence[Told]) -> Tensor:
        """The same."""
        return super().odds(outputs, told) + torch.stack([self._prior(one)[0] for one in told])

    def _prior(self, told: Told) -> tuple[Tensor, dict[str, str]]:
        """Log factors of what is known of one image, and in words."""
        rules = self.compiled.rules
        key = tuple(told.get(prior.column, "") for prior in rules.priors)
        if key not in self._priors:
            self._priors[key] = _factors(rules, self.compiled.outputs, told)
        return self._priors[key]

    def said(self, values: Mapping[str, str]) -> str:
        """The class."""
        return values["class"]

    def _possible(self, told: Told) -> NDArray[np.bool_]:
        """(L,) which leaves the rules permit beside what is told."""
        leaves = self.compiled.rules.leaves
        seen = self.compiled.observed([{"class": leaf} for leaf in leaves])
        return ~self.compiled.contradicts(seen, [told] * len(leaves)).numpy()

    def _answer(self, alone: Answer, marginals: Tensor, why: Explanation, told: Told) -> Answer:
        leaves = self.compiled.rules.leaves
        start = self.compiled.offsets[CLASS]
        p = dict(zip(leaves, marginals[start : start + len(leaves)].tolist(), strict=True))
        likely = dict(sorted(((n, p[n]) for n in self.task.classes), key=lambda item: -item[1]))
        said = why.values["class"]
        label: str | None = said
        likely = {said: likely[said], **likely}
        words = say(likely)
        if self.costs is not None:
            label, words = self._by_cost(marginals, words, told)
        if label is not None:
            likely = {label: likely[label], **likely}
        prior = self._prior(told)[1]
        changed = [prior[name] for name in (said, str(alone.label)) if name in prior]
        if changed and said != alone.label:
            words += f"; alone it would say {alone.words}, but {' and '.join(changed)}"
        unknown = why.permitted < self.least and self.compiled.is_exact([told])
        if unknown:
            share = percent(why.permitted)
            words = f"unknown: the rules permit {share} of what it believes to see ({words})"
        elif why.rules:
            words += f"; alone it would say {alone.words}, but {broken(why)}"
        return replace(
            alone,
            label=None if unknown else label,
            probabilities=likely,
            words=words,
            unknown=unknown,
            rules={**why.as_dict(), "kinds": self._kinds(label or said, p)},
        )

    def _kinds(self, name: str, p: Mapping[str, float]) -> dict[str, float]:
        """The kinds that a class belongs to, the innermost first, each with its probability."""
        rules = self.compiled.rules
        leaf = rules.leaves.index(name)
        above = [(len(own), kind) for kind, own in rules.below.items() if leaf in own]
        return {
            kind: sum(p[rules.leaves[i]] for i in rules.below[kind])
            for count, kind in sorted(above)
            if kind != name
        }

    def _by_cost(self, marginals: Tensor, words: str, told: Told) -> tuple[str | None, str]:
        """The class that costs least on average, and why it is not the likeliest one."""
        leaves = self.compiled.rules.leaves
        start = self.compiled.offsets[CLASS]
        assert self.costs is not None
        p = marginals[start : start + len(leaves)].double().numpy() * self._possible(told)
        chosen = cheapest(p, self.costs)
        if chosen.leaf == int(p.argmax()):
            return leaves[chosen.leaf], words
        least, other = f"{chosen.cost:.2g}", f"{chosen.of_likeliest:.2g}"
        if chosen.leaf is None:
            why = f"unsure, a person should look: that costs {least}, the answer {other} on average"
            return None, f"{why} ({words})"
        said = f"{leaves[chosen.leaf]} ({percent(float(p[chosen.leaf]))})"
        return leaves[chosen.leaf], f"{said}, which costs {least} on average; {words} costs {other}"


class TagsUnder(NamesUnder):
    """Any number of tags."""

    task: Tag

    @staticmethod
    def known(rules: Rules) -> tuple[str, Sequence[str]]:
        """Tags and plain attributes."""
        return "tags", [choice.name for choice in rules.choices if choice.is_plain]

    def logits(self, outputs: Tensor, told: Sequence[Told]) -> Tensor:
        """Log odds of tags beside those of their thresholds."""
        limits = torch.tensor(self.task.thresholds).double().clamp(1e-6, 1 - 1e-6)
        return self.odds(outputs, told) - limits.logit()

    def said(self, values: Mapping[str, str]) -> str:
        """The tags that are so."""
        return joined_tags(name for name in self.task.classes if values[name] == "yes")

    def _answer(self, alone: Answer, marginals: Tensor, why: Explanation, told: Told) -> Answer:
        rules, offsets = self.compiled.rules, self.compiled.offsets
        p = {name: float(marginals[offsets[rules.number[name]] + 1]) for name in self.task.classes}
        likely = dict(sorted(p.items(), key=lambda item: -item[1]))
        said = [name for name in likely if why.values[name] == "yes"]
        words = ", ".join(f"{name} ({percent(likely[name])})" for name in said)
        words = words or f"none of the {len(p)} labels"
        if why.rules:
            words += f"; alone it would say {alone.words}, but {broken(why)}"
        return replace(
            alone,
            label=joined_tags(said),
            probabilities=likely,
            words=words,
            rules=why.as_dict(),
        )


def _factors(rules: Rules, outputs: Sequence[str], told: Told) -> tuple[Tensor, dict[str, str]]:
    """(D,) log of how much likelier what is told makes each class, and that of each in words.

    Raises:
        DataError: a table of priors does not have the value that is told.
    """
    found = torch.zeros(len(outputs))
    words: dict[str, str] = {}
    for prior in rules.priors:
        value = told.get(prior.column, "")
        if not value:
            continue
        if value not in prior.factors and prior.is_whole:
            near = hint(value, prior.factors)
            raise DataError(
                f"The priors of the column '{prior.column}' have no value '{value}'{near}"
            )
        for leaf, factor in prior.factors.get(value, {}).items():
            name = rules.leaves[leaf]
            if name in outputs:
                found[outputs.index(name)] += math.log(max(factor, LEAST_FACTOR))
                likely = f"is {factor:g} times as likely where {prior.column} is {value}"
                words[name] = (
                    f"{words[name]}, and {likely}" if name in words else f"{name} {likely}"
                )
    return found, words
