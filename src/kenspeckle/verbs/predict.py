"""`predict`: answers for files, folders and archives of images nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Sample
from kenspeckle.data.layouts.archive import is_archive
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File
from kenspeckle.errors import DataError
from kenspeckle.tasks.classify import say
from kenspeckle.verbs.model import PIECE, Model
from kenspeckle.verbs.progress import Stage, Tell, quiet


def predict(
    model: Model, images: Sequence[str | Path], *, conf: float = 0.0, tell: Tell = quiet
) -> list[Answer]:
    """One answer an image, in the order named; a folder's images in natural order.

    A single file that cannot be read is an answer with `error`, since the others still matter.

    Args:
        conf: answers with a lower probability claim no class, in [0, 1].

    Raises:
        DataError: a name leads to nothing, or a folder holds no image.
    """
    samples: list[Sample] = []
    for name in images:
        samples += _samples(Path(name))
    answers: list[Answer] = []
    for start in range(0, len(samples), PIECE):
        answers += model.answer(samples[start : start + PIECE])
        tell(Stage("answering", len(answers), len(samples)))
    return [_unsure(answer, conf) for answer in answers]


def _samples(path: Path) -> list[Sample]:
    if not path.exists():
        raise DataError(f"There is no {path}. Name a file, a folder or a pattern of images.")
    if path.is_dir() or is_archive(path):
        found = scan(path, labelled=False)
        return [replace(sample, path=str(path / sample.path)) for sample in found.samples]
    return [Sample(str(path), File(path))]


def _unsure(answer: Answer, conf: float) -> Answer:
    if answer.label is None or answer.probability >= conf:
        return answer
    words = f"not sure enough (below {100 * conf:.0f} %): {say(answer.probabilities)}"
    return replace(answer, label=None, words=words)
