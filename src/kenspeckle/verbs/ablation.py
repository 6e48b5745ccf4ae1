"""`rules test`: what each rule is worth to a model, on labelled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.dataset import Sample, joined_tags, tags_in
from kenspeckle.errors import DataError, EmptyDataset, UnreadableImage, UsageError
from kenspeckle.knowledge.compiled import Compiled, Decoded
from kenspeckle.knowledge.explained import without_rule
from kenspeckle.knowledge.formulas import Is
from kenspeckle.knowledge.names import CLASS
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
        beside: those of the model that was trained without rules, if one was given.
        gain: right answers with rules minus those of that model, as a share, with its interval.
        far: for each of `alone`, `ruled` and `beside`, the share of answers that have no kind in
            common with the truth; empty where the classes have no kinds.
        rules: of each rule.
        how: which images these were.
    """

    images: int
    alone: Score
    ruled: Score
    beside: Score | None
    gain: Score | None
    far: Mapping[str, float]
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
    *,
    beside: Model | None = None,
) -> Tried:
    """Answer labelled images without rules, with all, and with all but each one.

    Columns of the rules are read from the table of the data. Images of a part called test are
    taken where there are some, else all. An answer is right where the label leaves it open: a
    label may be a kind. Images that cannot be read, or have a label that the rules do not know, are
    told and left out.

    Args:
        beside: a model of the same task that was trained without rules, as a second measure.

    Raises:
        UsageError: the model is not one of classes or tags, or the other one is of another task or
            was trained under rules too.
        EmptyDataset: no image that can be read has a label.
        RulesError: the file is wrong.
    """
    under = model.task.under(Rules.load(file), {})
    if not isinstance(under, NamesUnder):
        raise UsageError("Rules over lines of characters are not taken apart; use `ken val`.")
    if beside is not None:
        _must_be_plain(beside, model)
    dataset = look(data, columns, tell, task=model.bundle.config.task)
    labelled = [sample for sample in dataset.samples if sample.label is not None]
    tested = [sample for sample in labelled if sample.split == "test"]
    some = [(s, _open(under, str(s.label))) for s in tested or labelled]
    samples = [sample for sample, left in some if left]
    truth = [left for _, left in some if left]
    if len(samples) < len(some):
        words = (
            f"{len(some) - len(samples)} of {len(some)} images are not tried: their label is no "
            f"class and no kind of {under.compiled.rules.file}"
        )
        tell(Stage("trying rules", words=words))
    rows, outputs = _outputs(model, samples, tell)
    samples, truth = [samples[row] for row in rows], [truth[row] for row in rows]
    if not samples:
        raise EmptyDataset(f"{dataset.root} has no labelled images to try the rules on.")
    told = under.told([sample.facts for sample in samples])
    logits = under.logits(outputs, told).float()
    answers = under.compiled.decode(logits, told)
    said = {
        "alone": [under.said(answer.own) for answer in answers],
        "ruled": [under.said(answer.values) for answer in answers],
    }
    if beside is not None:
        said["beside"] = _said_by(beside, samples, tell)
    right = {way: _right(own, truth) for way, own in said.items()}
    ruled = right["ruled"]
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
        alone=accuracy_score(right["alone"], groups),
        ruled=accuracy_score(ruled, groups),
        beside=accuracy_score(right["beside"], groups) if beside else None,
        gain=_gain(ruled, right["beside"], groups) if beside else None,
        far=_far(under, said, truth),
        rules=tuple(worth),
        how="part 'test'" if tested else "all images",
    )


def _outputs(model: Model, samples: Sequence[Sample], tell: Tell) -> tuple[list[int], Tensor]:
    """The rows that can be read, and (N, D) what the network makes of them."""
    rows: list[int] = []
    found: list[Tensor] = []
    for start in range(0, len(samples), PIECE):
        piece = range(start, min(start + PIECE, len(samples)))
        try:
            found.append(model.outputs([samples[row] for row in piece]))
            rows += piece
        except UnreadableImage:
            for row in piece:
                try:
                    found.append(model.outputs([samples[row]]))
                    rows.append(row)
                except UnreadableImage as fault:
                    words = f"{samples[row].path} is not tried: {fault}"
                    tell(Stage("trying rules", words=words))
        tell(Stage("answering", piece.stop, len(samples)))
    return rows, torch.cat(found) if found else torch.zeros(0, 0)


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
    return Worth(
        name=rule.name,
        line=rule.place.line,
        words=rule.words,
        fired=sum(number in answer.broken for answer in answers),
        mended=int((ruled & ~without).sum()),
        spoiled=len(spoiled),
        gain=_gain(ruled, without, groups),
        spoiled_paths=tuple(samples[row].path for row in spoiled[:5]),
    )


def _gain(one: Bools, other: Bools, groups: Sequence[str]) -> Score:
    """How many more are right, as a share."""
    gain = one.astype(float) - other
    return bootstrap(lambda rows: float(gain[rows].mean()), len(gain), groups)


def _right(said: Sequence[str], truth: Sequence[frozenset[str]]) -> Bools:
    return np.array([one in left for one, left in zip(said, truth, strict=True)])


def _open(under: NamesUnder, label: str) -> frozenset[str]:
    """The answers that a label leaves open; none where the rules do not know it."""
    if not under.task.is_exclusive:
        return frozenset({joined_tags(tags_in(label))})
    rules = under.compiled.rules
    if label in under.task.classes:
        return frozenset({label})
    try:
        formula = rules.said(label)
    except DataError:
        return frozenset()
    if not isinstance(formula, Is) or formula.choice != CLASS:
        return frozenset()
    return frozenset(rules.leaves[leaf] for leaf in formula.values)


def _must_be_plain(beside: Model, model: Model) -> None:
    own, other = model.bundle.config.task, beside.bundle.config.task
    if own != other:
        raise UsageError(f"One model is of the task {own}, the one beside it of {other}.")
    if beside.task.rules is not None:
        raise UsageError("The model beside was trained under rules. Train one without --rules.")


def _said_by(model: Model, samples: Sequence[Sample], tell: Tell) -> list[str]:
    """What a model without rules answers."""
    found: list[str] = []
    for start in range(0, len(samples), PIECE):
        some = samples[start : start + PIECE]
        answers = model.task.decode(model.outputs(some), [sample.path for sample in some])
        found += [str(model.task.meant(answer)) for answer in answers]
        tell(Stage("answering without rules", len(found), len(samples)))
    return found


def _far(
    under: NamesUnder, said: Mapping[str, Sequence[str]], truth: Sequence[frozenset[str]]
) -> dict[str, float]:
    """Way -> the share of answers that share no kind with the truth."""
    rules = under.compiled.rules
    kinds = [own for own in rules.below.values() if 1 < len(own) < len(rules.leaves)]
    if not under.task.is_exclusive or not kinds:
        return {}
    named = [{rules.leaves[leaf] for leaf in own} for own in kinds]

    def is_far(one: str, left: frozenset[str]) -> bool:
        return one not in left and not any(one in own and left & own for own in named)

    return {
        way: float(np.mean([is_far(one, left) for one, left in zip(own, truth, strict=True)]))
        for way, own in said.items()
    }
