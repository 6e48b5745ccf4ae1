"""What a generator is worth: to a recogniser that learns from it, and beside real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batches, Chosen, Rows, in_pieces
from kenspeckle.models.cnn import tiny
from kenspeckle.models.gan import Gan
from kenspeckle.recipe import Recipe, Training
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.generate import Generate
from kenspeckle.tasks.likeness import (
    NEIGHBOURS,
    Memorised,
    covered,
    density,
    frechet_distance,
    kernel_distance,
    memorised,
)
from kenspeckle.tasks.task import Floats, Network
from kenspeckle.training.budget import choose_speed
from kenspeckle.training.fit import fit
from kenspeckle.verbs.pictures import grid, row_a_class
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell

MOST = 10_000  # images of a kind: Frechet distances need ten times as many as there are features
TIMES = 10  # drawn images for each real one, where these are few
EPOCHS = 5  # of a recogniser over drawn images
LEAST_UPDATES = 100
SECONDS = 60.0  # for each recogniser, at most
BUDGET_SHARE = 0.06  # of the run's own time, for each recogniser
ALL_TRAINING = 50_000  # training images among which copies are looked for
LOOKED_AT = 2000  # drawn images that may be copies
SHOWN = 10  # columns of the sheet
ROWS = 30  # classes on the sheet
PAIRS = 10  # drawn images beside the training image that is most like each
PIECE = 250  # images at once

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Examined:
    """What was found out about a generator.

    Args:
        answers: one a test image, by the recogniser that learned from drawn images; `figures` say
            whether the other one is right and whether the image is covered.
        told: what the report says beside that.
        sheets: file name -> a picture.
    """

    answers: list[Answer]
    told: Mapping[str, Any]
    sheets: Mapping[str, NDArray[np.uint8]]


def examine(
    prepared: Prepared,
    recipe: Recipe,
    task: Generate,
    network: nn.Module,
    train: Ints,
    test: Ints,
    tell: Tell,
) -> Examined:
    """Train two recognisers alike, on drawn and on real images, and let both answer the test rows.

    Features are those of the recogniser that learned from real images. Where there are 20 000
    training images and more, those that are compared with are others than it learned from.
    """
    samples, images = prepared.used.samples, prepared.images
    targets = torch.from_numpy(task.strata([sample.label for sample in samples]))
    order = torch.from_numpy(np.random.default_rng(recipe.training.seed).permutation(train))
    learned, others = order[:MOST], order[-ALL_TRAINING:]
    assert isinstance(network, Gan)
    count = max(len(test), min(MOST, TIMES * len(train)))
    drawn, of_class = task.drawn(network, range(count))
    tell(Stage("measuring", words="two recognisers learn, from drawn and from real images"))
    training = _training(recipe, count)
    of_drawn = _recogniser(task.classes, drawn, of_class, training)
    of_real = _recogniser(task.classes, Chosen(images, learned), targets[learned], training)
    tell(Stage("measuring", words="drawn and real images are compared"))
    tested = Chosen(images, torch.from_numpy(test))
    said = _seen(of_drawn, tested).said
    real, made, learnt = (_seen(of_real, some) for some in (tested, drawn, Chosen(images, others)))
    right = real.said == targets[test].numpy()
    near = _covered(real.vectors, made.vectors)
    answers = [
        Answer(
            samples[row].path,
            task.classes[said[i]],
            {},
            "",
            figures={
                "real_right": float(right[i]),
                **({} if near is None else {"covered": float(near[i])}),
            },
        )
        for i, row in enumerate(test)
    ]
    copies = memorised(made.vectors[:LOOKED_AT], learnt.vectors, real.vectors)
    told = {
        "likeness": {
            "drawn_learned": count,
            "real_learned": len(learned),
            "memorised": copies.share.as_dict(),
            "is_memorised": copies.is_flagged,
            **_distances(real.vectors, made.vectors, learnt.vectors[-MOST:]),
        },
        "unknown": None,
        "history": [],  # losses of two that play against each other do not say how well it goes
        "sheets": [
            {"picture": "generated.png", "title": "Drawn images", "words": _words(task)},
            {"picture": "nearest.png", "title": "The most like training images", "words": NEAREST},
        ],
    }
    sheet = row_a_class(drawn, len(task.classes), ROWS, SHOWN)
    nearest = _pairs(drawn, Chosen(images, others), copies)
    return Examined(answers, told, {"generated.png": sheet, "nearest.png": nearest})


NEAREST = (
    "Above, the drawn images that lie nearest to a training image; below each, that training "
    "image. Where the two are the same, it was learned by heart."
)


def _words(task: Generate) -> str:
    rows = min(ROWS, len(task.classes))
    which = (
        "a row a class" if rows == len(task.classes) else f"the first {rows} classes, a row each"
    )
    return f"The first {SHOWN} that chance gave, none chosen by hand; {which}."


def _training(recipe: Recipe, count: int) -> Training:
    """The same for both recognisers: as many updates, however many images there are."""
    usual = Training()
    assert usual.batch_size != "full"
    updates = max(LEAST_UPDATES, EPOCHS * count // usual.batch_size)
    budget = recipe.training.budget_seconds
    seconds = SECONDS if budget is None else min(SECONDS, max(1.0, BUDGET_SHARE * budget))
    return Training(
        steps=updates,
        learning_rate=3e-3,
        budget_seconds=seconds,
        seed=recipe.training.seed,
        device=recipe.training.device,
    )


def _recogniser(
    classes: Sequence[str], images: Rows, targets: Tensor, training: Training
) -> Network:
    """A small convolutional network that has learned these images."""
    torch.manual_seed(training.seed)
    task = Classify(classes)
    backbone = tiny()
    backbone.learn_statistics(images[torch.arange(min(PIECE, len(images)))])
    network = task.network(backbone)
    batches = Batches(images, targets, batch_size=training.batch_size, seed=training.seed)
    first = next(batches.epoch(0))[0]
    training = choose_speed(network, task, first, training, training.steps or 1)
    for _ in fit(network, task, batches, None, training, None):
        pass
    return network.to("cpu").to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


@dataclass(frozen=True)
class _Seen:
    """What a recogniser makes of images: class numbers (N,), features (N, D)."""

    said: Ints
    vectors: Floats


def _seen(network: Network, images: Rows) -> _Seen:
    said, vectors = [], []
    with torch.inference_mode():
        for piece in in_pieces(len(images), PIECE):
            some = images[torch.arange(piece.start, piece.stop)]
            vector = network.head.vector(network.backbone.stages(some))
            said.append(network.head.from_vector(vector).argmax(1))
            vectors.append(vector)
    return _Seen(torch.cat(said).numpy(), torch.cat(vectors).double().numpy())


def _covered(test: Floats, drawn: Floats) -> NDArray[np.bool_] | None:
    """Which test images have a drawn one nearby, of as many; None where there is but one image."""
    n = len(test)
    return None if n < 2 else covered(test, drawn[:n], min(NEIGHBOURS, n - 1))


def _distances(test: Floats, drawn: Floats, train: Floats) -> dict[str, Any]:
    """Of drawn from test images, beside those of training from test images."""
    n = min(len(test), len(drawn), len(train))
    if n < 2:
        return {"images": n}
    test, drawn, train = test[:n], drawn[:n], train[:n]
    k = min(NEIGHBOURS, n - 1)
    return {
        "images": n,
        "frechet": frechet_distance(drawn, test),
        "frechet_floor": frechet_distance(train, test),
        "kernel": kernel_distance(drawn, test),
        "kernel_floor": kernel_distance(train, test),
        "density": density(test, drawn, k),
        "density_floor": density(test, train, k),
    }


def _pairs(drawn: Tensor, train: Rows, copies: Memorised) -> NDArray[np.uint8]:
    """The drawn images that are nearest to a training image, and that image below each."""
    nearest = torch.from_numpy(copies.nearest[:PAIRS])
    return grid([drawn[torch.from_numpy(copies.rows[:PAIRS])], train[nearest]])
