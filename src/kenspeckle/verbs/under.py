"""A model's answers under rules: the likeliest ones that break no hard rule, and why."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import joined_tags
from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge.automaton import union
from kenspeckle.knowledge.compiled import BrokenRule, Compiled
from kenspeckle.knowledge.costs import cheapest, cost_matrix
from kenspeckle.knowledge.ctc import ctc_best, ctc_log_sum
from kenspeckle.knowledge.explained import Explanation, Spoken
from kenspeckle.knowledge.names import CLASS, hint
from kenspeckle.knowledge.rules import Rules
from kenspeckle.knowledge.scan import IMPOSSIBLE
from kenspeckle.models.reader import ColumnReader
from kenspeckle.tasks.classify import Classify, say
from kenspeckle.tasks.read import Read
from kenspeckle.tasks.tag import Tag
from kenspeckle.tasks.task import Task
from kenspeckle.words import percent

# p_net(rules) below which an answer is unknown, since the rules alone made it: what else a network
# that is 19 times surer of something forbidden says is no answer. A line of many characters is
# seldom right as a whole, so for it less is asked; of tags, whose number makes it small, nothing.
LEAST_CLASS, LEAST_LINE = 0.05, 0.01
LEAST_FACTOR = 1e-9  # of a prior that says never; a hard rule says it better


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


def under_rules(task: Task[Any], rules: Rules, side: Mapping[str, str] | None = None) -> Under:
    """Rules for a model.

    Args:
        task: of the model; `classify`, `tag`, or `read` by columns.
        rules: a file that names its classes or tags, or says what a line may be.
        side: what is told beside the images: column -> value.

    Raises:
        UsageError: the model has another job, or a class that the rules do not know.
    """
    if isinstance(task, Classify | Tag):
        return NamesUnder(task, rules, side or {})
    if isinstance(task, Read):
        return LinesUnder(task, rules)
    raise UsageError(
        "Rules speak of classes, tags and lines of characters, and this model says other things."
    )


class NamesUnder(Under):
    """Rules over the classes or the tags of a model.

    The network's calibrated probabilities go in, p(answer | rules) comes out. Attributes and tags
    that the model does not know are silent: they only have to leave an answer that is permitted.

    Args:
        task: of the model; `classify` or `tag`.
        rules: a file that names its classes or tags.
        side: what is told beside the images: column -> value.

    Raises:
        UsageError: the model has a class that the rules do not know.
    """

    def __init__(self, task: Classify | Tag, rules: Rules, side: Mapping[str, str]) -> None:
        kind = "classes" if isinstance(task, Classify) else "tags"
        known = rules.leaves if kind == "classes" else [c.name for c in rules.choices if c.is_plain]
        for name in task.classes:
            if name not in known:
                raise UsageError(
                    f"The model says '{name}', which the `{kind}` of {rules.file} do not have"
                    f"{hint(name, known)}"
                )
        columns = [rules.choices[i].name for i in rules.known]
        with_priors = [prior.column for prior in rules.priors]
        for name in side:
            if name not in columns and name not in with_priors:
                raise UsageError(
                    f"The rules know no column '{name}'{hint(name, [*columns, *with_priors])} "
                    "Declare it under `columns:` with its values."
                )
        self.task = task
        self.side = {name: value for name, value in side.items() if name in columns}
        self.compiled: Compiled = rules.compile(task.classes)
        self.factors, self.prior_words = _factors(rules, task.classes, side)
        self.costs = cost_matrix(rules.costs, len(rules.leaves)) if rules.costs else None
        self.possible = self._possible() if self.costs is not None and self.is_exclusive else None

    def answers(
        self, network: nn.Module, batch: Tensor, outputs: Tensor, alone: Sequence[Answer]
    ) -> list[Answer]:
        """As `Under.answers`, of raw outputs (B, K)."""
        told = [self.side] * len(outputs)
        odds = self._odds(outputs).float()
        marginals = self.compiled.marginals(odds, told)
        permitted = self.compiled.log_permitted(self._heard(outputs).float(), told).exp().tolist()
        found = []
        for at, one in enumerate(self.logits(outputs)):
            why = replace(self.compiled.explain(one, self.side), permitted=permitted[at])
            found.append(self._answer(alone[at], marginals[at], why))
        return found

    def _possible(self) -> NDArray[np.bool_]:
        """(L,) which leaves the rules permit beside what is told."""
        leaves = self.compiled.rules.leaves
        seen = self.compiled.observed([{"class": leaf} for leaf in leaves])
        return ~self.compiled.contradicts(seen, [self.side] * len(leaves)).numpy()

    @property
    def is_exclusive(self) -> bool:
        """Whether it names one class, not any number of tags."""
        return isinstance(self.task, Classify)

    def logits(self, outputs: Tensor) -> Tensor:
        """What the answer is decoded from: (B, K) log odds, of tags beside their thresholds.

        So what no rule touches is said as before.
        """
        odds = self._odds(outputs)
        if isinstance(self.task, Tag):
            odds -= torch.tensor(self.task.thresholds).double().clamp(1e-6, 1 - 1e-6).logit()
        return odds.float()

    def _odds(self, outputs: Tensor) -> Tensor:
        """(B, K) log odds of tags, or log p of classes times their priors; calibrated, float64."""
        heard = self._heard(outputs)
        return heard + self.factors if self.is_exclusive else heard

    def _heard(self, outputs: Tensor) -> Tensor:
        """The same before any prior: what the network alone believes."""
        p = self.task.probabilities(outputs).double().clamp(1e-12, 1 - 1e-12)
        return p.logit() if isinstance(self.task, Tag) else p.log()

    def _answer(self, alone: Answer, marginals: Tensor, why: Explanation) -> Answer:
        p = {name: float(marginals[self._atom(name)]) for name in self.task.classes}
        likely = dict(sorted(p.items(), key=lambda item: -item[1]))
        label: str | None
        if isinstance(self.task, Classify):
            said_class = label = why.values["class"]
            likely = {said_class: likely[said_class], **likely}
            words = say(likely)
            if self.costs is not None:
                label, words = self._by_cost(marginals, words)
            if label is not None:
                likely = {label: likely[label], **likely}
            changed = [n for n in (said_class, alone.label) if n in self.prior_words]
            if changed and said_class != alone.label:
                told = " and ".join(self.prior_words[str(name)] for name in changed)
                words += f"; alone it would say {alone.words}, but {told}"
        else:
            said = [name for name in likely if why.values[name] == "yes"]
            label = joined_tags(said)
            words = ", ".join(f"{name} ({percent(likely[name])})" for name in said)
            words = words or f"none of the {len(p)} labels"
        unknown = self.is_exclusive and why.permitted < LEAST_CLASS
        if unknown:
            share = percent(why.permitted)
            words = f"unknown: the rules permit {share} of what it believes to see ({words})"
        elif why.rules:
            words += f"; alone it would say {alone.words}, but {_broken(why)}"
        return replace(
            alone,
            label=None if unknown else label,
            probabilities=likely,
            words=words,
            unknown=unknown,
            rules=why.as_dict(),
        )

    def _by_cost(self, marginals: Tensor, words: str) -> tuple[str | None, str]:
        """The class that costs least on average, and why it is not the likeliest one."""
        leaves = self.compiled.rules.leaves
        start = self.compiled.offsets[CLASS]
        assert self.costs is not None
        assert self.possible is not None
        p = marginals[start : start + len(leaves)].double().numpy() * self.possible
        chosen = cheapest(p, self.costs)
        if chosen.leaf == int(p.argmax()):
            return leaves[chosen.leaf], words
        least, other = f"{chosen.cost:.2g}", f"{chosen.of_likeliest:.2g}"
        if chosen.leaf is None:
            told = (
                f"unsure, a person should look: that costs {least}, the answer {other} on average"
            )
            return None, f"{told} ({words})"
        said = f"{leaves[chosen.leaf]} ({percent(float(p[chosen.leaf]))})"
        return leaves[chosen.leaf], f"{said}, which costs {least} on average; {words} costs {other}"

    def _atom(self, name: str) -> int:
        """The number of the value that a class or a tag being so has."""
        rules = self.compiled.rules
        if isinstance(self.task, Classify):
            return self.compiled.offsets[CLASS] + rules.leaves.index(name)
        return self.compiled.offsets[rules.number[name]] + 1


class LinesUnder(Under):
    """What a line of characters may be, for a reader by columns: exact, over all alignments.

    Args:
        task: `read` by columns (CTC).
        rules: with a section `text`; a line should be one of them.

    Raises:
        UsageError: no text is named, none can be written with the characters that were learned, or
            the reader writes character by character.
    """

    def __init__(self, task: Read, rules: Rules) -> None:
        if task.reader != "ctc":
            raise UsageError(
                "Rules of text need a reader by columns; train with --head ctc. This one writes "
                "character by character."
            )
        if not rules.texts:
            raise UsageError(f"{rules.file} has no section `text` that says what a line may be.")
        self.task, self.rules = task, rules
        found = [(text, text.automaton(task.classes)) for text in rules.texts]
        self.texts = [(text, automaton) for text, automaton in found if not automaton.is_empty]
        if self.texts:
            self.any = union([automaton for _, automaton in self.texts])
        else:
            raise UsageError(
                f"No text of {rules.file} can be written with the characters that the model knows: "
                f"{''.join(task.classes)}"
            )

    def answers(
        self, network: nn.Module, batch: Tensor, outputs: Tensor, alone: Sequence[Answer]
    ) -> list[Answer]:
        """As `Under.answers`."""
        with torch.inference_mode():
            logits = cast(ColumnReader, network).logits(batch).double()
            log_p = logits.log_softmax(2)
            lengths = torch.full((len(log_p),), log_p.shape[1])
            best, scores = ctc_best(log_p, lengths, self.any)
            permitted = ctc_log_sum(log_p, lengths, self.any).clamp(max=0)
        return [
            self._answer(answer, self._text(symbols), float(score), float(share))
            for answer, symbols, score, share in zip(alone, best, scores, permitted, strict=True)
        ]

    def _text(self, symbols: Tensor) -> str:
        said = "".join(self.task.classes[i] for i in symbols.tolist() if i >= 0)
        if said and not any(re.fullmatch(text.pattern, said) for text, _ in self.texts):
            raise BrokenRule(f"no text of {self.rules.file} permits {said!r}")
        return said

    def _answer(self, alone: Answer, said: str, log_p: float, permitted: float) -> Answer:
        own = alone.label or ""
        p = min(1.0, math.exp(log_p - permitted)) if log_p > IMPOSSIBLE else 0.0
        spoken: tuple[Spoken, ...] = ()
        if not self.any.accepts(own):
            without = {"text": own} if len(self.texts) == 1 else None
            spoken = tuple(
                Spoken(f"L{text.place.line}", text.place.line, text.words, None, without)
                for text, _ in self.texts
            )
        why = Explanation(
            values={"text": said},
            answer={"text": said},
            probability=p,
            permitted=math.exp(permitted),
            own={} if own == said else {"text": own},
            price=max(0.0, math.log(max(alone.probability, 1e-300)) - log_p),
            rules=spoken,
            next=None,
            algorithms="automaton over all alignments (exact; the likeliest single way)",
            file=self.rules.file,
        )
        unknown = not said or why.permitted < LEAST_LINE
        words = f"{said} ({percent(p)})"
        if unknown:
            share = percent(why.permitted)
            words = f"unknown: the rules permit {share} of what it believes to see ({words})"
        elif spoken:
            words += f"; alone it would say {alone.words}, but {_broken(why)}"
        return replace(
            alone,
            label=None if unknown else said,
            probabilities={said: p},
            words=words,
            unknown=unknown,
            places=alone.places if own == said else (),
            rules=why.as_dict(),
        )


def _factors(
    rules: Rules, classes: Sequence[str], side: Mapping[str, str]
) -> tuple[Tensor, dict[str, str]]:
    """(K,) log of how much likelier what is told makes each class, and that of each in words.

    Raises:
        DataError: a table of priors does not have the value that is told.
    """
    found = torch.zeros(len(classes))
    words: dict[str, str] = {}
    for prior in rules.priors:
        value = side.get(prior.column, "")
        if not value:
            continue
        if value not in prior.factors and prior.is_whole:
            near = hint(value, prior.factors)
            raise DataError(
                f"The priors of the column '{prior.column}' have no value '{value}'{near}"
            )
        for leaf, factor in prior.factors.get(value, {}).items():
            if rules.leaves[leaf] in classes:
                number = classes.index(rules.leaves[leaf])
                found[number] += math.log(max(factor, LEAST_FACTOR))
                told = f"is {factor:g} times as likely where {prior.column} is {value}"
                name = rules.leaves[leaf]
                words[name] = f"{words[name]}, and {told}" if name in words else f"{name} {told}"
    return found, words


def _broken(why: Explanation) -> str:
    return " and ".join(f"{rule.name} says {rule.words}" for rule in why.rules)
