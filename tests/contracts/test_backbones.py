"""Every network of the table keeps the promise of a backbone, under every task over images."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from kenspeckle.bundle.bundle import Bundle, load
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.batch import Batch
from kenspeckle.models import BACKBONES
from kenspeckle.models.backbone import Input
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.models.runtime import for_inference
from kenspeckle.models.transformer import VisionTransformer
from kenspeckle.tasks import TASKS
from kenspeckle.tasks.task import ClassTask

CLASSES = ("a", "b", "c")
TASKS_OVER_IMAGES = [name for name in TASKS if issubclass(TASKS.load(name), ClassTask)]
PAIRS = list(itertools.product(BACKBONES, TASKS_OVER_IMAGES))
MASKING = [name for name in BACKBONES if make_backbone(name, fresh=True).takes_valid]
POSITIONS = ["sin2d", "sin1d", "learned", "none"]
SIZES = [(1, 1), (5, 7), (29, 31), (31, 4), (32, 32)]  # height, width
SIDE = 32


def side_of(name: str) -> int:
    """Small, but large enough for the network, or its head's own."""
    facts = BACKBONES.row(name).facts
    if facts["head"] == "flatten":
        return facts["image_size"]
    return SIDE if facts["head"] == "pooled" else 64


def head_of(name: str) -> str:
    return "flatten" if BACKBONES.row(name).facts["head"] == "flatten" else "pooled"


def world(name: str, task: str = "classify"):
    """A fresh network for three classes, its task, and two images."""
    side = side_of(name)
    asked = TASKS.load(task)(CLASSES, head=head_of(name), image_size=side)
    backbone = make_backbone(name, fresh=True, built=Input(side))
    return asked, asked.network(backbone), torch.rand(2, backbone.in_channels, side, side)


def shaken(backbone: nn.Module) -> nn.Module:
    """The network in eval mode, with every weight and statistic away from its start."""
    with torch.no_grad():
        for name, tensor in [*backbone.named_parameters(), *backbone.named_buffers()]:
            if tensor.is_floating_point() and name not in ("mean", "std"):
                tensor.add_(0.1 * torch.rand_like(tensor))
    return backbone.eval()


def padded(pictures: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (3, h, w) top left in grey squares, and where they are."""
    batch = torch.full((len(pictures), 3, SIDE, SIDE), 0.4)
    valid = torch.zeros(len(pictures), SIDE, SIDE, dtype=torch.bool)
    for row, picture in enumerate(pictures):
        height, width = picture.shape[1:]
        batch[row, :, :height, :width] = picture
        valid[row, :height, :width] = True
    return batch, valid


def assert_padding_is_masked(backbone: nn.Module) -> None:
    pictures = [torch.rand(3, *size) for size in SIZES]
    with torch.no_grad():
        among = backbone.stages(*padded(pictures))
        for row, picture in enumerate(pictures):
            for ours, bare in zip(among, backbone.stages(picture[None]), strict=True):
                height, width = bare.shape[2:]
                assert torch.allclose(ours[row, :, :height, :width], bare[0], atol=1e-4)
                assert not ours[row, :, height:].any()
                assert not ours[row, :, :, width:].any()


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
@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_statistics_are_learned_and_travel_with_the_weights(name, channels):
    backbone = make_backbone(name, fresh=True)
    assert {"mean", "std"} <= backbone.state_dict().keys()
    pixels = torch.randint(0, 256, (4, channels, 20, 20), dtype=torch.uint8)
    backbone.learn_statistics(pixels)
    prepared = backbone.prepare(pixels)
    assert torch.allclose(prepared.mean((0, 2, 3)), torch.zeros(backbone.in_channels), atol=1e-4)
    assert torch.allclose(prepared.std((0, 2, 3)), torch.ones(backbone.in_channels), atol=1e-3)


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
    with torch.no_grad():  # residual branches that start as zero let gradients in after one update
        for parameter in network.parameters():
            if not parameter.any():
                parameter.add_(0.1)
    targets = asked.collate(["a", "c"])
    batch = Batch(images, targets, torch.ones(2), torch.arange(2))
    sum(asked.loss(network, batch, player) for player in asked.players(network)).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_model_file_gives_the_same_network_back(name, task, tmp_path):
    asked, network, images = world(name, task)
    asked.temperature = 1.5
    config = Config(
        task=task,
        model=name,
        classes=CLASSES,
        head=head_of(name),
        image_size=side_of(name),
        resize="pad",
        settings=asked.kept(),
    )
    Bundle(config=config, weights=network.state_dict()).save(tmp_path / "m.ken")
    bundle = load(tmp_path / "m.ken")
    assert bundle.task().kept() == asked.kept()
    with torch.no_grad():
        assert torch.equal(bundle.network()(images), network.eval()(images))


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_the_copy_for_answering_answers_the_same(name, task):
    _, network, images = world(name, task)
    with torch.no_grad():
        assert torch.allclose(for_inference(network)(images), network.eval()(images), atol=1e-4)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_answers_carry_every_class_with_a_probability(name, task):
    asked, network, images = world(name, task)
    with torch.no_grad():
        answers = asked.decode(network.eval()(images), ["1.png", "2.png"])
    assert [answer.path for answer in answers] == ["1.png", "2.png"]
    for answer in answers:
        assert set(answer.probabilities) == set(CLASSES)
        assert all(0 <= p <= 1 for p in answer.probabilities.values())
        if asked.is_exclusive:
            assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_the_networks_of_our_own_take_padding():
    own = [name for name in BACKBONES if BACKBONES.row(name).facts["head"] == "pooled"]
    assert own == MASKING


@pytest.mark.parametrize("name", MASKING)
def test_a_padded_picture_gives_the_maps_of_the_bare_one(name):
    assert_padding_is_masked(shaken(make_backbone(name, fresh=True)))


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_padded_picture_gives_the_maps_of_the_bare_one_with_all_positions(positions):
    built = Input(SIDE, positions)
    assert_padding_is_masked(shaken(make_backbone("transformer", fresh=True, built=built)))


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax"])
@pytest.mark.parametrize("name", MASKING)
def test_a_padded_picture_is_answered_as_the_bare_one(name, pool):
    asked = TASKS.load("classify")(CLASSES, pool=pool)
    network = shaken(asked.network(make_backbone(name, fresh=True)))
    pictures = [torch.rand(3, *size) for size in SIZES]
    with torch.no_grad():
        among = network(*padded(pictures))
        bare = torch.cat([network(picture[None]) for picture in pictures])
    assert torch.allclose(among, bare, atol=1e-4)


@pytest.mark.parametrize("name", MASKING)
def test_a_place_of_the_waist_stands_for_stride_pixels(name):
    backbone = make_backbone(name, fresh=True).eval()
    for height, width in SIZES:
        waist = backbone(torch.rand(1, 3, height, width))
        sides = (-(-height // backbone.stride), -(-width // backbone.stride))
        assert waist.shape == (1, backbone.channels, *sides)
        assert waist.isfinite().all()


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_model_file_keeps_the_positions(positions, tmp_path):
    asked = TASKS.load("classify")(CLASSES)
    network = asked.network(make_backbone("transformer", fresh=True, built=Input(SIDE, positions)))
    config = Config(
        task="classify",
        model="transformer",
        classes=CLASSES,
        head="pooled",
        image_size=SIDE,
        resize="pad",
        positions=positions,
    )
    Bundle(config=config, weights=network.state_dict()).save(tmp_path / "m.ken")
    again = load(tmp_path / "m.ken").network()
    assert isinstance(again.backbone, VisionTransformer)
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.equal(again(images), network.eval()(images))
