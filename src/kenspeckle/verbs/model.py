"""`Model`: a finished recogniser that answers, explains and saves itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.bundle import bundle as bundles
from kenspeckle.bundle.bundle import Bundle
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.dataset import Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.read import read_image
from kenspeckle.data.source import File
from kenspeckle.errors import UnreadableImage
from kenspeckle.models.pretrained import imagenet_head, imagenet_names, make_backbone
from kenspeckle.models.runtime import Precision, for_inference, forward
from kenspeckle.tasks.task import Network
from kenspeckle.trust.explain.grad_cam import explain_by_grad_cam
from kenspeckle.trust.unknown import refuse_unknown

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
    def network(self) -> Network:
        """The network in float32, as it is stored."""
        return self.bundle.network()

    @cached_property
    def _fast(self) -> Network:
        return cast(Network, for_inference(self.network))

    @property
    def fit(self) -> Fit:
        """How an image becomes the network's square."""
        config = self.bundle.config
        return Fit(config.image_size, config.resize)  # type: ignore[arg-type]

    def predict(self, images: str | Path | Sequence[str | Path]) -> list[Answer]:
        """One answer an image file, in order; an unreadable file has `error` set.

        >>> packaged().predict("no such file.jpg")[0].error
        'there is no such file'
        """
        paths = [images] if isinstance(images, (str, Path)) else list(images)
        return self.answer([Sample(str(path), File(Path(path))) for path in paths])

    def answer(self, samples: Sequence[Sample]) -> list[Answer]:
        """One answer a sample, in order; memory stays bounded however many there are."""
        answers = []
        for start in range(0, len(samples), PIECE):
            answers += self._answer_piece(samples[start : start + PIECE])
        return answers

    def _answer_piece(self, samples: Sequence[Sample]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        images: list[Tensor] = []
        read: list[int] = []
        for i, sample in enumerate(samples):
            try:
                images.append(self._image(sample))
                read.append(i)
            except UnreadableImage as fault:
                words = f"not read: {fault}"
                answers[i] = Answer(sample.path, None, {}, words, error=str(fault))
        if read:
            logits, vectors = self._run(images)
            told = self.bundle.task().decode(logits, [samples[i].path for i in read])
            answers.update(zip(read, self._familiar(told, vectors), strict=True))
        return [answers[i] for i in range(len(samples))]

    def _image(self, sample: Sample) -> Tensor:
        pixels = read_image(sample.source, self.fit).pixels
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _run(self, images: Sequence[Tensor]) -> tuple[Tensor, NDArray[np.float32]]:
        batch = torch.stack([image.expand(self._channels(images), -1, -1) for image in images])
        head, precision = self._fast.head, cast(Precision, self.bundle.config.precision)
        vector = forward(lambda x: head.vector(self._fast.backbone.stages(x)), batch, precision)
        with torch.inference_mode():
            return head.from_vector(vector), head.likeness(vector).numpy()

    @staticmethod
    def _channels(images: Sequence[Tensor]) -> int:
        return max(image.shape[0] for image in images)

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

    def explain(self, image: str | Path, label: str | None = None) -> NDArray[np.float32]:
        """Where the network looked: heat (H, W) in [0, 1] over the network's square.

        Args:
            label: the class to explain; None is the likeliest.

        Raises:
            UnreadableImage: the file cannot be read.
        """
        batch = self._image(Sample(str(image), File(Path(image))))[None]
        with torch.no_grad():
            likeliest = self.network(batch).argmax(1)
        target = likeliest if label is None else torch.tensor([self.classes.index(label)])
        return explain_by_grad_cam(self.network, batch, target)[0].numpy()

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
