"""`predict`: answers for images, sequences and strings that nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Sample
from kenspeckle.data.layouts.archive import is_archive
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File, Text
from kenspeckle.errors import DataError, UsageError
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
        UsageError: `conf` for a model that may say several labels.
    """
    if conf and model.bundle.config.task == "tag":
        raise UsageError(
            "--conf is for models that name one class; this one says every label that reaches "
            "the label's own threshold. Leave --conf out."
        )
    samples: list[Sample] = []
    for name in images:
        samples += _strings(str(name)) if model.reads == "pairs" else _samples(Path(name), model)
    answers: list[Answer] = []
    for start in range(0, len(samples), PIECE):
        answers += model.answer(samples[start : start + PIECE])
        tell(Stage("answering", len(answers), len(samples)))
    return [_unsure(answer, conf) for answer in answers]


def _strings(text: str) -> list[Sample]:
    """The string itself, or the lines of the file that bears it as a name."""
    try:
        lines = Path(text).read_text("utf-8-sig").split("\n") if Path(text).is_file() else [text]
    except UnicodeDecodeError:
        raise DataError(f"{text} is no UTF-8 text; the model answers strings.") from None
    except OSError:  # a string too long for a name
        lines = [text]
    return [Sample(line, Text(line)) for line in lines if line.strip() or line is text]


def _samples(path: Path, model: Model) -> list[Sample]:
    if not path.exists():
        raise DataError(f"There is no {path}. Name a file, a folder or a pattern of {model.reads}.")
    if path.is_dir() or is_archive(path):
        found = scan(path, labelled=False)
        if found.reads != model.reads:
            raise DataError(f"{path} holds {found.reads}, and this model reads {model.reads}.")
        return [replace(sample, path=str(path / sample.path)) for sample in found.samples]
    return [Sample(str(path), File(path))]


def _unsure(answer: Answer, conf: float) -> Answer:
    if answer.label is None or answer.probability >= conf:
        return answer
    words = f"not sure enough (below {100 * conf:.0f} %): {say(answer.probabilities)}"
    return replace(answer, label=None, words=words)
