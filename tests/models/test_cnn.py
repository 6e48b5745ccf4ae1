"""The residual network's shapes, its start, and what padding would do without its mask."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kenspeckle.models.cnn import CNN, base, tiny


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("make", [tiny, CNN, base])
def test_each_stage_halves_the_sides_and_doubles_the_channels(make):
    network = make().eval()
    maps = network.stages(torch.rand(1, 3, 30, 17))
    assert [tuple(m.shape[2:]) for m in maps] == [(30, 17), (15, 9), (8, 5), (4, 3)]
    stem, *others = [m.shape[1] for m in maps]
    assert others == [2 * stem, 4 * stem, 8 * stem]
    assert others[-1] == network.channels
    assert all(m.min() >= 0 for m in maps)


@pytest.mark.parametrize(("make", "millions"), [(tiny, 0.2), (CNN, 0.7), (base, 2.7)])
def test_it_has_as_many_weights_as_it_says(make, millions):
    assert round(weights(make()) / 1e6, 1) == millions


def test_a_block_starts_as_its_shortcut():
    network = base().eval()  # the second stage has a block with a plain shortcut and one without
    for group, channels in zip(network.groups, (32, 64, 128), strict=True):
        x = torch.rand(2, channels, 6, 6)
        for block in group.blocks:
            y = block(x, None)
            passed = x[..., :: block.stride, :: block.stride]
            assert torch.equal(y, F.relu(block.shortcut(passed)))
            x = y
    plain, x = network.groups[1].blocks[1], torch.rand(1, 128, 5, 5)
    assert torch.equal(plain(x, None), x)


def test_a_mirrored_image_gives_mirrored_maps_with_mirrored_kernels():
    network = CNN(8).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
    images = torch.rand(1, 3, 33, 33)  # an odd side: stride 2 keeps both edges
    with torch.no_grad():
        maps = network.stages(images)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.flip(3))
        mirrored = network.stages(images.flip(3))
    for ours, theirs in zip(maps, mirrored, strict=True):
        assert torch.allclose(ours.flip(3), theirs, atol=1e-5)


def test_the_signal_keeps_its_size_at_the_start():
    network = CNN()  # in training, batch statistics: shortcuts alone carry it
    with torch.no_grad():
        sizes = [float(m.std()) for m in network.stages(torch.rand(8, 3, 32, 32))]
    assert all(0.3 < size < 3 for size in sizes), sizes


def test_training_moves_the_branches_of_all_blocks():
    network = CNN(8)
    head = nn.Linear(network.channels, 2)
    parameters = [*network.parameters(), *head.parameters()]
    images, targets = torch.rand(8, 3, 16, 16), torch.arange(8) % 2
    for _ in range(2):  # the first update opens the last normalisation of each block
        loss = F.cross_entropy(head(network(images).mean((2, 3))), targets)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.1 * gradient
    moved = {id(p) for p, g in zip(parameters, gradients, strict=True) if g.any()}
    for group in network.groups:
        for block in group.blocks:
            assert {id(p) for p in block.parameters()} <= moved


STEPS = """
import torch
from kenspeckle.models.cnn import tiny

torch.manual_seed(0)
for side in (28, 32):
    for batch in (1, 3, 5, 33):
        network = tiny().train().to(memory_format=torch.channels_last)
        images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = network(images.contiguous(memory_format=torch.channels_last))
        out.float().mean().backward()
"""


def test_batches_of_odd_size_are_learned_from_in_bfloat16():
    """In a process of its own: where memory was written past its end, the process died."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("side", [8, 9])
def test_a_shortcut_is_a_strided_convolution(side):
    block = tiny().groups[0].blocks[0].eval()
    x = torch.rand(2, 12, side, side)
    convolution, norm = block.shortcut
    with torch.no_grad():
        strided = norm(F.conv2d(x, convolution.weight, stride=2))
        assert torch.allclose(block.shortcut(x[..., ::2, ::2]), strided, atol=1e-6)
