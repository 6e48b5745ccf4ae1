"""A film of a generator's training: the same seeds drawn at the end of each epoch."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from kenspeckle.data.synthetic import MARK
from kenspeckle.models.gan import Gan
from kenspeckle.tasks.generate import Generate
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.pictures import as_png, row_a_class

ROWS = 10  # classes
ACROSS = 10  # images of each
NAME = "film.png"


class Film:
    """Frames as files of the run's folder, so that a resumed run goes on with its film.

    Args:
        task: whose images are drawn.
        folder: of the run; frames lie in `film/`, by epoch.
        resume: go on with the frames that are there; else they are of another run, and go.
    """

    def __init__(self, task: Generate, folder: Path, resume: bool = False) -> None:
        self.task, self.folder = task, folder / "film"
        if not resume and self.folder.exists():
            shutil.rmtree(self.folder)

    def take(self, network: nn.Module, epoch: int) -> None:
        """Draw a frame, for `fit`; marked as synthetic."""
        assert isinstance(network, Gan)
        drawn, _ = self.task.drawn(network, range(ACROSS * len(self.task.classes)))
        frame = row_a_class(drawn, len(self.task.classes), ROWS, ACROSS)
        self.folder.mkdir(exist_ok=True)
        as_png(self.folder / f"{epoch:04}.png", frame, MARK)

    def shown(self, outcome: Outcome) -> Outcome:
        """The outcome with the film among what is shown; as it was, of fewer than two frames."""
        frames = []
        for path in sorted(self.folder.glob("*.png")):
            with Image.open(path) as image:
                pixels = np.asarray(image)
            frames.append(pixels if pixels.ndim == 3 else pixels[..., None])
        if len(frames) < 2:
            return outcome
        words = (
            f"The same seeds at the end of each of {len(frames)} epochs, drawn by the averaged "
            "weights; the last frame stays."
        )
        row = {"picture": NAME, "title": "Film of the training", "words": words}
        return replace(
            outcome,
            sheets={**outcome.sheets, NAME: np.stack(frames)},
            told={**outcome.told, "sheets": [*outcome.told["sheets"], row]},
        )
