"""`predict`: answers for images, sequences and strings that nobody labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kenspeckle.answer import Answer
from kenspeckle.errors import UsageError
from kenspeckle.tasks.classify import say
from kenspeckle.verbs.model import PIECE, Model
from kenspeckle.verbs.progress import Stage, Tell, quiet
from kenspeckle.words import percent

if TYPE_CHECKING:
    from kenspeckle.tasks.under import Under


def predict(
    model: Model,
    images: Sequence[str | Path],
    *,
    conf: float = 0.0,
    rules: Path | None = None,
    side: Mapping[str, str] | None = None,
    tell: Tell = quiet,
) -> list[Answer]:
    """One answer an image, in the order named; a folder's images in natural order.

    A single file that cannot be read is an answer with `error`, since the others still matter.

    Args:
        images: files, folders and archives; for a model that learned from pairs of strings,
            strings, or text files with a string a line.
        conf: answers with a lower probability claim no class, in [0, 1]; under rules the innermost
            kind with at least that probability, if there is one.
        rules: a rules file that every answer keeps.
        side: what is told beside the images: column of the rules -> value.

    Raises:
        RulesError: the rules file is wrong.
        DataError: a name leads to nothing, or a folder holds nothing that the model reads.
        UsageError: `conf` for a model that may say several labels, or that compares.
    """
    if conf and (model.task.compares or model.bundle.config.task == "tag"):
        raise UsageError(
            "--conf is for models that name one class with its probability; this one says what "
            "reaches a threshold of its own. Leave --conf out."
        )
    verb = model.task.telling.verb
    if verb != "predict":
        raise UsageError(f"This model has another job than naming things: use `ken {verb}`.")
    under = rules_for(model, rules, side)
    samples = [s for name in images for s in model.reading.named(str(name), model.reads)]
    answers: list[Answer] = []
    for start in range(0, len(samples), PIECE):
        answers += model.answer(samples[start : start + PIECE], under)
        tell(Stage("answering", len(answers), len(samples)))
    return [_unsure(answer, conf) for answer in answers]


def rules_for(model: Model, rules: Path | None, side: Mapping[str, str] | None) -> Under | None:
    """A rules file for a model, or its own rules with what is told; None where neither is.

    Raises:
        RulesError: the file is wrong.
        UsageError: the model has another job, or something is told to no rules.
    """
    if rules is not None:
        from kenspeckle.knowledge.rules import Rules  # only then: a solver comes with it

        return model.task.under(Rules.load(rules), side or {})
    if not side:
        return None  # rules that the model was trained under are part of its task
    if model.task.rules is None:
        raise UsageError("--side tells rules what is known beside the images; say --rules too.")
    return model.task.under(model.task.rules, side)


def _unsure(answer: Answer, conf: float) -> Answer:
    if answer.label is None or answer.probability >= conf:
        return answer
    for kind, p in (answer.rules or {}).get("kinds", {}).items():
        if p >= conf:
            words = (
                f"{kind} ({percent(p)}), of which kind is less sure: {say(answer.probabilities)}"
            )
            return replace(answer, label=kind, words=words)
    words = f"not sure enough (below {100 * conf:.0f} %): {say(answer.probabilities)}"
    return replace(answer, label=None, words=words)
