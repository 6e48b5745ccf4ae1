"""Tasks that say where: any image network carries them, forward, backward and in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kenspeckle.data.batch import Batch
from kenspeckle.data.fit import Fit
from kenspeckle.models import BACKBONES
from kenspeckle.models.backbone import Input
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.tasks.detect import Detect
from kenspeckle.tasks.read import Read

SIDE = 64
FIT = Fit(SIDE)
SIZES = [(SIDE, SIDE), (2 * SIDE, SIDE)]
ADAPTING = [n for n in BACKBONES if BACKBONES.row(n).facts.get("adapts") or n.startswith("eff")]
TASKS_THAT_SAY_WHERE = {
    "ctc": (Read("abc", longest=3, fit=FIT), ["ab", "cc"]),
    "decoder": (Read("abc", reader="decoder", longest=3, fit=FIT), ["ab", "cc"]),
    "detect": (Detect(["cat", "dog"], fit=FIT), ["5 5 40 40 cat", "0 0 64 32 dog; 1 2 9 9 cat"]),
}


@pytest.fixture(params=TASKS_THAT_SAY_WHERE)
def asked(request):
    """A task and the labels of two images."""
    return TASKS_THAT_SAY_WHERE[request.param]


def network_of(task, name):
    torch.manual_seed(0)
    built = Input(image_size=SIDE)
    return task.network(make_backbone(name, fresh=True, built=built))


def two_images():
    return torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)


@pytest.mark.parametrize("name", ADAPTING)
def test_gradients_reach_the_first_weights(asked, name):
    task, labels = asked
    network = network_of(task, name).train()
    targets = task.collate(labels, SIZES)
    batch = Batch(two_images(), targets, torch.ones(2), torch.arange(2))
    loss = task.loss(network, batch, "network")
    loss.backward()
    assert loss.isfinite()
    assert next(network.backbone.parameters()).grad.any()


@pytest.mark.parametrize("name", ADAPTING)
def test_an_image_alone_is_answered_as_among_others(asked, name):
    task, _ = asked
    network = network_of(task, name).eval()
    images = two_images()
    with torch.no_grad():
        together = task.decode(network(images), ["1", "2"], SIZES)
        alone = [
            task.decode(network(images[i : i + 1]), [str(i + 1)], SIZES[i : i + 1])[0]
            for i in (0, 1)
        ]
    for one, other in zip(alone, together, strict=True):
        assert one.label == other.label
        for place, same in zip(one.places, other.places, strict=True):
            assert place.name == same.name
            here = (place.left, place.top, place.right, place.bottom)
            there = (same.left, same.top, same.right, same.bottom)
            np.testing.assert_allclose(here, there, atol=0.05)


def test_a_heavier_image_counts_more(asked):
    task, labels = asked
    network = network_of(task, "cnn-tiny").eval()
    images, targets = two_images(), task.collate(labels, SIZES)

    def loss(weights):
        batch = Batch(images, targets, torch.tensor(weights), torch.arange(2))
        with torch.no_grad():
            return task.loss(network, batch, "network").item()

    first, second = loss([1.0, 0.0]), loss([0.0, 1.0])
    assert loss([1.0, 3.0]) == pytest.approx(0.25 * first + 0.75 * second, rel=1e-4)
