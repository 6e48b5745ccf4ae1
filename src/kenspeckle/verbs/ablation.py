"""`rules test`: what each rule is worth to a model, on labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kenspeckle.data.dataset import Sample, joined_tags, tags_in
from kenspeckle.errors import EmptyDataset, UsageError
from kenspeckle.knowledge.compiled import Compiled, Decoded
from kenspeckle.knowledge.explained import without_rule
from kenspeckle.knowledge.rules import Rules
from kenspeckle.score import Score, accuracy_score, bootstrap
from kenspeckle.tasks.under_names import NamesUnder
from kenspeckle.verbs.model import PIECE, Model
from kenspeckle.verbs.prepare import look
from kenspeckle.verbs.progress import Stage, Tell, quiet

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Worth:
    """What one rule does to the answers.

    Args:
        name: `L6`.
        line: in the file.
        words: what it says.
        fired: images whose answer without rules breaks it.
        mended: images that are right with it and wrong without it, the other rules staying.
        spoiled: images that are wrong with it and right without it.
        gain: right answers with it minus without it, as a share, with its interval.
        spoiled_paths: the first of those images.
    """

    name: str
    line: int
    words: str
    fired: int
    mended: int
    spoiled: int
    gain: Score
    spoiled_paths: tuple[str, ...]

    @property
    def hurts(self) -> bool:
        """Whether it costs more right answers than it gives."""
        return self.spoiled > self.mended


@dataclass(frozen=True)
class Tried:
    """A rules file on labelled images.

    Args:
        images: how many were answered.
        alone, ruled: right answers without rules and with all of them.
        rules: of each rule.
        how: which images these were.
    """

    images: int
    alone: Score
    ruled: Score
    rules: tuple[Worth, ...]
    how: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def try_rules(
    model: Model,
    file: str | Path,
    data: str | Path,
    columns: Mapping[str, str] | None = None,
    tell: Tell = quiet,
) -> Tried:
    """Answer labelled images without rules, with all, and with all but each one.

    Columns of the rules are read from the table of the data. Images of a part called test are
    taken where there are some, else all.

    Raises:
        UsageError: the model is not one of classes or tags.
        EmptyDataset: no image has a label.
        RulesError: the file is wrong.
    """
    under = model.task.under(Rules.load(file), {})
    if not isinstance(under, NamesUnder):
        raise UsageError("Rules over lines of characters are not taken apart; use `ken val`.")
    dataset = look(data, columns, tell, task=model.bundle.config.task)
    labelled = [sample for sample in dataset.samples if sample.label is not None]
    tested = [sample for sample in labelled if sample.split == "test"]
    samples = tested or labelled
    if not samples:
        raise EmptyDataset(f"{dataset.root} has no labelled images to try the rules on.")
    outputs = []
    for start in range(0, len(samples), PIECE):
        outputs.append(model.outputs(samples[start : start + PIECE]))
        tell(Stage("answering", min(start + PIECE, len(samples)), len(samples)))
    told = under.told([sample.facts for sample in samples])
    logits = under.logits(torch.cat(outputs), told).float()
    answers = under.compiled.decode(logits, told)
    labels = [str(sample.label) for sample in samples]
    truth = labels if under.task.is_exclusive else [joined_tags(tags_in(one)) for one in labels]
    alone = _right([under.said(answer.own) for answer in answers], truth)
    ruled = _right([under.said(answer.values) for answer in answers], truth)
    groups = [sample.group or sample.path for sample in samples]
    rules = under.compiled.rules.rules
    worth = []
    for number in range(len(under.compiled.rules.rules)):
        fewer = without_rule(under.compiled, number)
        if under.compiled.is_exact() and not fewer.is_exact():  # a solver would take hours
            words = f"{rules[number].name} is not tried: without it there are too many worlds"
            tell(Stage("trying rules", words=words))
            continue
        left = fewer.decode(logits, told)
        without = _right([under.said(answer.values) for answer in left], truth)
        worth.append(_worth(under.compiled, number, answers, ruled, without, samples, groups))
        tell(Stage("trying rules", number + 1, len(under.compiled.rules.rules)))
    return Tried(
        images=len(samples),
        alone=accuracy_score(alone, groups),
        ruled=accuracy_score(ruled, groups),
        rules=tuple(worth),
        how="part 'test'" if tested else "all images",
    )


def _worth(
    compiled: Compiled,
    number: int,
    answers: Sequence[Decoded],
    ruled: Bools,
    without: Bools,
    samples: Sequence[Sample],
    groups: Sequence[str],
) -> Worth:
    rule = compiled.rules.rules[number]
    spoiled = np.flatnonzero(without & ~ruled)
    gain = ruled.astype(float) - without
    return Worth(
        name=rule.name,
        line=rule.place.line,
        words=rule.words,
        fired=sum(number in answer.broken for answer in answers),
        mended=int((ruled & ~without).sum()),
        spoiled=len(spoiled),
        gain=bootstrap(lambda rows: float(gain[rows].mean()), len(gain), groups),
        spoiled_paths=tuple(samples[row].path for row in spoiled[:5]),
    )


def _right(said: Sequence[str], truth: Sequence[str]) -> Bools:
    return np.array([one == other for one, other in zip(said, truth, strict=True)])
