"""Every network of the table keeps the promise of a backbone, under every task of its table."""

from __future__ import annotations

import itertools

import pytest
import torch

from kenspeckle.bundle.bundle import Bundle, load
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.batch import Batch
from kenspeckle.models import BACKBONES
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.models.runtime import for_inference
from kenspeckle.tasks import TASKS

CLASSES = ("a", "b", "c")
PAIRS = list(itertools.product(BACKBONES, TASKS))
SIDE = 64


def side_of(name: str) -> int:
    """Small, but the network's own where its head needs that."""
    is_fixed = BACKBONES.row(name).facts["head"] == "flatten"
    return BACKBONES.row(name).facts["image_size"] if is_fixed else SIDE


def head_of(name: str) -> str:
    return "flatten" if BACKBONES.row(name).facts["head"] == "flatten" else "pooled"


def world(name: str, task: str = "classify"):
    """A fresh network for three classes, its task, and two images."""
    side = side_of(name)
    asked = TASKS.load(task)(CLASSES, head=head_of(name), image_size=side)
    backbone = make_backbone(name, fresh=True)
    return asked, asked.network(backbone), torch.rand(2, backbone.in_channels, side, side)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_the_row_says_what_the_others_need(name):
    facts = BACKBONES.row(name).facts
    assert facts["image_size"] >= 1
    assert facts["head"] in ("features", "pooled", "flatten")


@pytest.mark.parametrize("name", list(BACKBONES))
def test_maps_come_out_shallow_to_deep_and_the_last_is_the_waist(name):
    _, network, images = world(name)
    backbone = network.backbone.eval()
    maps = backbone.stages(images)
    assert all(m.ndim == 4 and len(m) == 2 for m in maps)
    sides = [m.shape[-1] for m in maps]
    assert sides == sorted(sides, reverse=True)
    assert maps[-1].shape[1] == backbone.channels
    assert torch.equal(backbone(images), maps[-1])


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_bytes_and_shares_are_taken(name, channels):
    _, network, _ = world(name)
    backbone, side = network.backbone.eval(), side_of(name)
    pixels = torch.randint(0, 256, (1, channels, side, side), dtype=torch.uint8)
    assert torch.allclose(backbone(pixels), backbone(pixels.float() / 255), atol=1e-4)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_pixel_statistics_travel_with_the_weights(name):
    names = make_backbone(name, fresh=True).state_dict()
    assert {"mean", "std"} <= names.keys()


@pytest.mark.parametrize("name", list(BACKBONES))
def test_training_on_the_input_leaves_it_as_it_was(name):
    _, network, images = world(name)
    before = images.clone()
    network(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_one_row_of_logits_an_image(name, task):
    _, network, images = world(name, task)
    assert network.eval()(images).shape == (2, 3)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_an_image_alone_is_answered_as_among_others(name, task):
    _, network, images = world(name, task)
    network.eval()
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_gradients_reach_every_weight(name, task):
    asked, network, images = world(name, task)
    targets = asked.collate(["a", "c"])
    batch = Batch(images, targets, torch.ones(2), torch.arange(2))
    sum(asked.loss(network, batch, player) for player in asked.players(network)).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_model_file_gives_the_same_network_back(name, task, tmp_path):
    _, network, images = world(name, task)
    config = Config(
        task=task,
        model=name,
        classes=CLASSES,
        head=head_of(name),
        image_size=side_of(name),
        resize="pad",
    )
    Bundle(config=config, weights=network.state_dict()).save(tmp_path / "m.ken")
    again = load(tmp_path / "m.ken").network()
    with torch.no_grad():
        assert torch.equal(again(images), network.eval()(images))


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_the_copy_for_answering_answers_the_same(name, task):
    _, network, images = world(name, task)
    with torch.no_grad():
        assert torch.allclose(for_inference(network)(images), network.eval()(images), atol=1e-4)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_answers_carry_every_class_and_sum_to_one(name, task):
    asked, network, images = world(name, task)
    with torch.no_grad():
        answers = asked.decode(network.eval()(images), ["1.png", "2.png"])
    assert [answer.path for answer in answers] == ["1.png", "2.png"]
    for answer in answers:
        assert set(answer.probabilities) == set(CLASSES)
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
