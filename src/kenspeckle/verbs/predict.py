"""`predict`: answers for images, sequences and strings that nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kenspeckle.answer import Answer
from kenspeckle.errors import UsageError
from kenspeckle.tasks.classify import say
from kenspeckle.verbs.model import PIECE, Model
from kenspeckle.verbs.progress import Stage, Tell, quiet


def predict(
    model: Model, images: Sequence[str | Path], *, conf: float = 0.0, tell: Tell = quiet
) -> list[Answer]:
    """One answer an image, in the order named; a folder's images in natural order.

    A single file that cannot be read is an answer with `error`, since the others still matter.

    Args:
        images: files, folders and archives; for a model that learned from pairs of strings,
            strings, or text files with a string a line.
        conf: answers with a lower probability claim no class, in [0, 1].

    Raises:
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
    samples = [s for name in images for s in model.reading.named(str(name), model.reads)]
    answers: list[Answer] = []
    for start in range(0, len(samples), PIECE):
        answers += model.answer(samples[start : start + PIECE])
        tell(Stage("answering", len(answers), len(samples)))
    return [_unsure(answer, conf) for answer in answers]


def _unsure(answer: Answer, conf: float) -> Answer:
    if answer.label is None or answer.probability >= conf:
        return answer
    words = f"not sure enough (below {100 * conf:.0f} %): {say(answer.probabilities)}"
    return replace(answer, label=None, words=words)
