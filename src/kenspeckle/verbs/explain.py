"""`explain`: a picture of where an answer comes from, and the training images most like it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kenspeckle.answer import Place
from kenspeckle.data.read import read_image
from kenspeckle.data.source import File
from kenspeckle.errors import UnreadableImage, UsageError, nearest
from kenspeckle.files import write_bytes
from kenspeckle.tasks.task import ClassTask
from kenspeckle.trust.drawing import outlined
from kenspeckle.trust.explain import EXPLANATIONS
from kenspeckle.trust.report_pictures import under_heat
from kenspeckle.verbs.model import Model
from kenspeckle.verbs.readings.clips import weighed

if TYPE_CHECKING:
    from kenspeckle.tasks.under import Under

SHOWN_PX = 448  # the network's square, enlarged for the eye
MOST_PX = 1600  # across: strips and lines are wide


def explain(
    model: Model,
    image: Path,
    output: Path,
    label: str | None = None,
    method: str = "grad-cam",
    under: Under | None = None,
) -> Explanation:
    """Write a PNG of the image beside its heat map; hand back the answer.

    Args:
        label: the class to explain; None is the likeliest.
        method: a row of `EXPLANATIONS`.
        under: rules that the answer keeps.

    Raises:
        UnreadableImage: the file cannot be read.
        UsageError: there is no such class or method, or the model does not read images.
    """
    if label is not None and label not in model.classes:
        raise UsageError(f"The model has no class '{label}'{nearest(label, model.classes) or '.'}")
    EXPLANATIONS.row(method)
    if model.task.says_where:
        return _places_drawn(model, image, output, under)
    if model.reads == "clips":
        return _frames_weighed(model, image, output, label, under)
    pixels = read_image(File(image), model.fit).pixels
    answer = model.predict(image, under)[0]
    shown = None
    if under is not None and isinstance(model.task, ClassTask):
        shown = next((n for n in answer.probabilities if n in model.task.outputs), None)
    heat = model.explain(image, label or shown, method)
    write_bytes(output, _png(side_by_side(pixels, heat)))
    labels = dict(zip(model.bundle.config.paths, model.bundle.config.labels, strict=True))
    nearest_ = {path: labels[path] for path in answer.nearest}
    return Explanation(answer.words, nearest_, rules=answer.rules)


@dataclass(frozen=True)
class Explanation:
    """What is said about one image beside its picture.

    Args:
        words: the answer.
        nearest: the training images most like it, and what each shows, the most alike first. They
            are alike to the network; that is no proof that they are why it answers so.
        places: what was outlined, in the order of the numbers in the picture.
        rules: what rules changed and why, as `Answer.rules`.
    """

    words: str
    nearest: Mapping[str, str]
    places: Sequence[Place] = ()
    rules: Mapping[str, Any] | None = None


def _places_drawn(model: Model, image: Path, output: Path, under: Under | None) -> Explanation:
    """The image as it is, an outline around each thing the answer names."""
    answer = model.predict(image, under)[0]
    picture = read_image(File(image))
    write_bytes(output, _png(outlined(picture.pixels, answer.places, model.classes)))
    return Explanation(answer.words, {}, answer.places, answer.rules)


def _frames_weighed(
    model: Model, clip: Path, output: Path, label: str | None, under: Under | None
) -> Explanation:
    """The frames of a clip, each over a bar that says how much it speaks for the class."""
    task, network = model.task, model.network
    assert isinstance(task, ClassTask)
    answer = model.predict(clip, under)[0]
    if answer.error is not None:
        raise UnreadableImage("corrupt", answer.error)
    said = label or next(iter(answer.probabilities))

    def probabilities(steps: Tensor) -> Tensor:
        return task.probabilities(network(steps))

    sample, target = model.reading.at(str(clip)), model.classes.index(said)
    picture, _ = weighed(sample, model.fit, probabilities, target)
    write_bytes(output, _png(picture))
    labels = dict(zip(model.bundle.config.paths, model.bundle.config.labels, strict=True))
    nearest_ = {path: labels[path] for path in answer.nearest}
    return Explanation(answer.words, nearest_, rules=answer.rules)


def side_by_side(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The square as the network saw it, and the same under its heat: (S, 2 S, 3)."""
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    hot = under_heat(pixels, heat)
    grey = pixels.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
    return np.concatenate([pixels, grey if hot is None else hot], axis=1)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(pixels)
    scale = min(SHOWN_PX / picture.height, MOST_PX / picture.width)
    if scale > 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
