"""`Model`: a finished recogniser that answers, explains and saves itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.bundle import bundle as bundles
from kenspeckle.bundle.bundle import Bundle
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.dataset import Reads, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.errors import UnreadableImage, UsageError
from kenspeckle.models.pretrained import imagenet_head, imagenet_names, make_backbone
from kenspeckle.models.runtime import Precision, for_inference, forward
from kenspeckle.tasks.task import ClassTask, Network, Task
from kenspeckle.tasks.under import answered_under
from kenspeckle.trust.explain import EXPLANATIONS
from kenspeckle.trust.unknown import refuse_unknown
from kenspeckle.verbs.readings import READINGS
from kenspeckle.verbs.readings.reading import Given, Reading

if TYPE_CHECKING:
    from kenspeckle.tasks.under import Under

PIECE = 16
NEAREST = 3


class Model:
    """A bundle, ready to answer.

    >>> model = packaged()
    >>> len(model.classes)
    1000
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the network's outputs."""
        return self.bundle.config.classes

    @cached_property
    def network(self) -> nn.Module:
        """The network in float32, as it is stored."""
        return self.bundle.network()

    @cached_property
    def task(self) -> Task[Any]:
        """The question it answers."""
        return self.bundle.task()

    @cached_property
    def _fast(self) -> nn.Module:
        return for_inference(self.network)

    @cached_property
    def _own_rules(self) -> Under | None:
        """What it was trained under."""
        return None if self.task.rules is None else self.task.own_rules

    @property
    def reads(self) -> Reads:
        """What one sample is: an image, a sequence, a clip or the first string of a pair."""
        asked = self.task.reads
        return "sequences" if asked == "images" and self.bundle.config.features else asked

    @property
    def reading(self) -> Reading:
        """How such a sample is found and decoded."""
        return READINGS[self.reads]

    @property
    def fit(self) -> Fit:
        """How an image becomes what the network sees."""
        return self.bundle.config.fit

    def predict(
        self, images: str | Path | Sequence[str | Path], under: Under | None = None
    ) -> list[Answer]:
        """One answer an image file, in order; an unreadable file has `error` set.

        A model that learned from sequences takes their files, and one that learned from pairs of
        strings takes strings.

        Args:
            under: rules that every answer keeps (`Task.under`).

        >>> packaged().predict("no such file.jpg")[0].error
        'there is no such file'
        """
        verb = self.task.telling.verb
        if verb != "predict":
            raise UsageError(f"This model has another job than naming things: use `ken {verb}`.")
        paths = [images] if isinstance(images, (str, Path)) else list(images)
        return self.answer([self.reading.at(str(path)) for path in paths], under)

    def answer(self, samples: Sequence[Sample], under: Under | None = None) -> list[Answer]:
        """One answer a sample, in order; memory stays bounded however many there are.

        Args:
            under: rules that every answer keeps.
        """
        answers = []
        for start in range(0, len(samples), PIECE):
            answers += self._answer_piece(samples[start : start + PIECE], under)
        return answers

    def outputs(self, samples: Sequence[Sample]) -> Tensor:
        """What the network makes of samples, (B, ...) before any decoding.

        Raises:
            UnreadableImage: one of them cannot be read.
        """
        given = [self.reading.one(sample, self.bundle) for sample in samples]
        return self._run(self.reading.together(given))[0]

    def _answer_piece(self, samples: Sequence[Sample], under: Under | None) -> list[Answer]:
        answers: dict[int, Answer] = {}
        given: list[Given] = []
        read: list[int] = []
        for i, sample in enumerate(samples):
            try:
                given.append(self.reading.one(sample, self.bundle))
                read.append(i)
            except UnreadableImage as fault:
                words = f"not read: {fault}"
                answers[i] = Answer(sample.path, None, {}, words, error=str(fault))
        if read:
            batch = self.reading.together(given)
            outputs, vectors = self._run(batch)
            some, sizes = [samples[i] for i in read], [one.size for one in given]
            own = under or self._own_rules
            told = answered_under(self.task, self._fast, batch, outputs, some, sizes, own)
            answers.update(zip(read, self._familiar(told, vectors), strict=True))
        return [answers[i] for i in range(len(samples))]

    def _run(self, batch: Tensor) -> tuple[Tensor, NDArray[np.float32]]:
        """Raw outputs (B, ...) and unit vectors (B, D) where the head has any."""
        network = self._fast
        if not isinstance(network, Network):
            with torch.inference_mode():
                return network(batch), np.zeros((len(batch), 0), np.float32)
        head = network.head

        def read(batch: Tensor) -> Tensor:
            return head.vector(network.backbone.stages(batch))

        with torch.inference_mode():
            if batch.ndim == 4:
                vector = forward(read, batch, cast(Precision, self.bundle.config.precision))
            else:
                vector = read(batch)
            return head.from_vector(vector), head.likeness(vector).numpy()

    def _familiar(self, answers: list[Answer], vectors: NDArray[np.float32]) -> list[Answer]:
        """Refuse what is unlike the training images; name the nearest of them."""
        familiar = self.bundle.familiar()
        if familiar is None:
            return answers
        rows, cosines = familiar.nearest(vectors, NEAREST)
        answers = refuse_unknown(answers, 1 - cosines[:, 0], familiar.threshold)
        paths = self.bundle.config.paths
        return [
            replace(answer, nearest=tuple(paths[k] for k in row))
            for answer, row in zip(answers, rows, strict=True)
        ]

    def explain(
        self, image: str | Path, label: str | None = None, method: str = "grad-cam"
    ) -> NDArray[np.float32]:
        """Where the network looked: heat (H, W) in [0, 1] over the network's square.

        Args:
            label: the class to explain; None is the likeliest.
            method: a row of `EXPLANATIONS`.

        Raises:
            UnreadableImage: the file cannot be read.
            UsageError: the model does not read images, or the method does not fit its network.
        """
        network = self.network
        if self.task.compares:
            raise UsageError(
                "This model names whoever is most alike and has no class that could be drawn. Say "
                "`ken identify` to see which images it compares with."
            )
        if self.reads != "images" or not isinstance(network, Network):
            raise UsageError("Only answers about images can be drawn, and this model reads others.")
        sample = self.reading.at(str(image))
        batch = self.reading.together([self.reading.one(sample, self.bundle)])
        task = self.task
        assert isinstance(task, ClassTask)
        if label is None:
            with torch.no_grad():
                said = task.decode(network(batch), [str(image)])[0].probabilities
            label = next(name for name in said if name in task.outputs)
        elif label not in task.outputs:
            raise UsageError(
                f"'{label}' is known by rules alone: the network has no output for it, so there is "
                "nothing to draw."
            )
        target = torch.tensor([task.outputs.index(label)])
        return EXPLANATIONS.load(method)(network, batch, target)[0].numpy()

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all."""
        self.bundle.save(Path(path))


def load(path: str | Path, expect_sha256: str | None = None) -> Model:
    """Read a model file; see `kenspeckle.bundle.bundle.load`."""
    return Model(bundles.load(path, expect_sha256))


def packaged() -> Model:
    """EfficientNet-Lite0 as it comes: answers the 1000 classes of ImageNet, untrained by you."""
    config = Config(
        task="classify",
        model="efficientnet-lite0",
        classes=imagenet_names(),
        head="pooled",
        image_size=224,
        resize="pad",
    )
    backbone = make_backbone("efficientnet-lite0")
    weights = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    head = imagenet_head().state_dict()
    weights |= {f"head.linear.{name}": tensor for name, tensor in head.items()}
    return Model(Bundle(config=config, weights=weights))
