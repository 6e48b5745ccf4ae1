from __future__ import annotations

import pytest
import torch
from torch import nn

from kenspeckle.data.batch import Batch
from kenspeckle.errors import UsageError
from kenspeckle.training.health import diagnose, draw

WIDTH = 64


def deep(activation, start, depth=30, gain=1.0):
    """A plain network of `depth` layers, 64 wide, 10 classes, initialised with `start`."""
    torch.manual_seed(0)
    layers = []
    for i in range(depth):
        linear = nn.Linear(WIDTH, WIDTH if i < depth - 1 else 10)
        start(linear.weight)
        with torch.no_grad():
            linear.weight.mul_(gain)
        nn.init.zeros_(linear.bias)
        layers += [linear] if i == depth - 1 else [linear, activation()]
    return nn.Sequential(*layers)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, x):
        return x + self.branch(x)


class Reader(nn.Module):
    """A recurrent layer and a head on the state of one step, the last."""

    step = -1

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(WIDTH, 10)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, self.step])


class BothWays(nn.Module):
    """Two recurrent layers that read one tensor, one of them from its end."""

    def __init__(self, forth, back):
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.forth, self.back, self.head = forth, back, nn.Linear(WIDTH, 10)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.forth(x)[0][:, -1] + self.back(x.flip(1))[0][:, -1])


def batch(*shape):
    random = torch.Generator().manual_seed(3)
    images = torch.randn(32, *shape, generator=random)
    return Batch(images, torch.arange(32) % 10, torch.ones(32), torch.arange(32))


def test_a_deep_sigmoid_network_vanishes(tiny):
    found = diagnose(deep(nn.Sigmoid, nn.init.xavier_uniform_), tiny.Classes(), batch(WIDTH))
    assert found.verdict == "vanishing"
    assert found.first_over_last < 1e-15  # 5.7e-19 was measured on another draw
    assert found.layers_named[0] == "0"
    assert "ReLU" in str(found)


@pytest.mark.parametrize(
    ("activation", "start"),
    [(nn.ReLU, nn.init.kaiming_normal_), (nn.Tanh, nn.init.xavier_uniform_)],
)
def test_a_deep_network_with_the_right_start_is_healthy(tiny, activation, start):
    found = diagnose(deep(activation, start), tiny.Classes(), batch(WIDTH))
    assert found.verdict == "healthy", str(found)
    assert 0.05 < found.first_over_last < 20
    assert len(found.layers) == 30


def test_residual_blocks_with_normalisation_are_healthy(tiny):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), *[Block(8) for _ in range(20)], nn.Flatten(), nn.Linear(8 * 36, 10)
    )
    found = diagnose(network, tiny.Classes(), batch(3, 8, 8))
    assert found.verdict == "healthy", str(found)


def test_a_deep_linear_network_with_large_weights_explodes(tiny):
    network = deep(nn.Identity, nn.init.xavier_uniform_, gain=3.0)
    found = diagnose(network, tiny.Classes(), batch(WIDTH))
    assert found.verdict == "exploding"
    assert "clip" in found.remedy


def test_a_plain_recurrent_network_forgets_the_beginning(tiny):
    torch.manual_seed(0)
    network = Reader(nn.RNN(WIDTH, WIDTH, batch_first=True))
    found = diagnose(network, tiny.Classes(), batch(100, WIDTH))
    assert found.verdict == "vanishing"
    assert list(found.layers_named) == ["layer"]
    assert "LSTM" in found.remedy


def test_a_forget_bias_of_three_keeps_the_beginning(tiny):
    torch.manual_seed(0)
    layer = nn.LSTM(WIDTH, WIDTH, batch_first=True)
    with torch.no_grad():
        layer.bias_hh_l0[WIDTH : 2 * WIDTH] = 3
    found = diagnose(Reader(layer), tiny.Classes(), batch(100, WIDTH))
    assert found.verdict == "healthy", str(found)
    assert found.layers[0].first_over_last_time > 1e-3


def test_what_stands_after_the_last_step_that_counts_does_not_count(tiny):
    torch.manual_seed(0)
    whole, short = batch(100, WIDTH), batch(100, WIDTH)
    short.images = whole.images[:, :10]
    reader = Reader(nn.RNN(WIDTH, WIDTH, batch_first=True))
    bare = diagnose(reader, tiny.Classes(), short).layers[0].first_over_last_time
    reader.step = 9
    among = diagnose(reader, tiny.Classes(), whole).layers[0].first_over_last_time
    assert 0 < among < 1
    assert among == pytest.approx(bare, rel=1e-4)


def test_two_ways_that_read_the_same_steps_are_told_apart(tiny):
    torch.manual_seed(0)
    layers = [nn.RNN(WIDTH, WIDTH, batch_first=True) for _ in range(2)]
    found = diagnose(BothWays(*layers), tiny.Classes(), batch(100, WIDTH))
    assert found.verdict == "vanishing"
    assert list(found.layers_named) == ["forth", "back"]


def test_dead_units_are_named(tiny):
    network = deep(nn.ReLU, nn.init.kaiming_normal_, depth=4)
    nn.init.constant_(network[2].bias, -100.0)
    found = diagnose(network, tiny.Classes(), batch(WIDTH))
    assert found.verdict == "dead"
    assert found.layers_named[0] == "2"


def test_saturated_units_are_named(tiny):
    network = deep(nn.Tanh, nn.init.xavier_uniform_, depth=4)
    with torch.no_grad():
        network[2].weight.mul_(1000)
    found = diagnose(network, tiny.Classes(), batch(WIDTH))
    assert found.verdict == "saturated"
    assert list(found.layers_named) == ["2"]


def test_the_network_is_not_touched(tiny):
    network = deep(nn.ReLU, nn.init.kaiming_normal_, depth=3)
    before = [p.clone() for p in network.parameters()]
    found = diagnose(network, tiny.Classes(), batch(WIDTH))
    assert all(map(torch.equal, network.parameters(), before))
    assert all(p.grad is None for p in network.parameters())
    assert all(layer.update_ratio > 0 for layer in found.layers)


def test_a_network_without_weights_is_refused(tiny):
    network = nn.Linear(WIDTH, 10).requires_grad_(False)
    with pytest.raises(UsageError, match="no layer with trainable weights"):
        diagnose(network, tiny.Classes(), batch(WIDTH))


def test_the_picture_is_drawn(tiny, tmp_path):
    found = diagnose(deep(nn.Sigmoid, nn.init.xavier_uniform_), tiny.Classes(), batch(WIDTH))
    draw(found, tmp_path / "health.png")
    assert (tmp_path / "health.png").read_bytes().startswith(b"\x89PNG")
