"""The recurrent encoder equals PyTorch's packed one; its gated cells remember a hundred steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kenspeckle.data.batch import Batch
from kenspeckle.models import ENCODERS
from kenspeckle.models.sequence import REMEMBER, Recurrent, lengths_of, turned, within
from kenspeckle.tasks.classify import Classify
from kenspeckle.training.health import diagnose

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
GATED = ["lstm", "gru"]
FEATURES, HIDDEN = 5, 16
LENGTHS = torch.tensor([4, 1, 9, 6])


def pytorchs(cell: str, ours: Recurrent, layers: int) -> nn.RNNBase:
    """PyTorch's own network with the weights of ours."""
    theirs = CELLS[cell](
        FEATURES, HIDDEN, layers, batch_first=True, bidirectional=bool(len(ours.back))
    )
    with torch.no_grad():
        for layer in range(layers):
            for ways, ending in ((ours.forth, ""), (ours.back, "_reverse")):
                for way in ways[layer : layer + 1]:
                    for name, weight in way.named_parameters():
                        getattr(theirs, name.replace("l0", f"l{layer}{ending}")).copy_(weight)
    return theirs


def shaken(network: nn.Module) -> nn.Module:
    """With biases that are not zero, so that none can be forgotten."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_it_equals_pytorchs_packed_network(cell, both_ways, layers):
    ours = shaken(Recurrent(cell, FEATURES, HIDDEN, layers=layers, both_ways=both_ways))
    theirs = pytorchs(cell, ours, layers)
    steps = torch.randn(len(LENGTHS), 9, FEATURES)
    packed = pack_padded_sequence(steps, LENGTHS, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        states, summary = ours(steps, LENGTHS)
        out, last = theirs(packed)
    expected, _ = pad_packed_sequence(out, batch_first=True)
    last = last[0] if cell == "lstm" else last  # (layers * ways, B, hidden)
    ways = 2 if both_ways else 1
    assert torch.allclose(states, expected, atol=1e-5)
    assert torch.allclose(summary, torch.cat(list(last[-ways:]), 1), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_pytorchs(cell):
    ours = shaken(Recurrent(cell, FEATURES, HIDDEN))
    theirs = pytorchs(cell, ours, 1)
    steps = torch.randn(len(LENGTHS), 9, FEATURES)
    grads = []
    for network in (ours, theirs):
        given = steps.clone().requires_grad_()
        if network is ours:
            states, _ = ours(given, LENGTHS)
        else:
            packed = pack_padded_sequence(given, LENGTHS, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
        states.sin().sum().backward()
        grads.append(given.grad)
    assert torch.allclose(*grads, atol=1e-5)


@pytest.mark.parametrize("cell", GATED)
def test_the_gate_that_keeps_the_past_starts_open(cell):
    network = Recurrent(cell, FEATURES, HIDDEN, layers=2)
    for layer in [*network.forth, *network.back]:
        bias = layer.bias_ih_l0 + layer.bias_hh_l0
        gates = bias.detach().unflatten(0, (-1, HIDDEN))
        assert (gates[1] == REMEMBER).all()
        assert not gates[0].any()
        assert not gates[2:].any()


@pytest.mark.parametrize("cell", GATED)
def test_the_gate_that_starts_open_is_the_one_that_keeps_the_state(cell):
    layer = Recurrent(cell, 1, 4, both_ways=False).forth[0]
    start, nothing = torch.rand(1, 1, 4), torch.zeros(1, 1, 4)
    with torch.no_grad():
        layer.bias_ih_l0[4:8] = 100  # 1 to float32's precision
        layer.weight_hh_l0.zero_()
        _, end = layer(torch.zeros(1, 50, 1), (nothing, start) if cell == "lstm" else start)
    assert torch.allclose(end[1] if cell == "lstm" else end, start)


def remembered(network: Recurrent, steps: int = 100) -> float:
    """|dL/dx_1| / |dL/dx_T|, where L reads the summary."""
    given = torch.randn(4, steps, FEATURES, requires_grad=True)
    (network(given)[1] * torch.randn(network.width)).sum().backward()
    norms = given.grad.double().norm(dim=(0, 2))
    return float(norms[0] / norms[-1])


@pytest.mark.parametrize("seed", range(3))
def test_gated_cells_remember_a_hundred_steps_and_the_simple_one_does_not(seed):
    # n = 6 seeds, 64 and 96 units: rnn 5e-10 to 3e-8, gru 0.02 to 0.05, lstm 12 to 130.
    ratios = {}
    for cell in CELLS:
        torch.manual_seed(seed)
        ratios[cell] = remembered(Recurrent(cell, FEATURES, 64, both_ways=False))
    assert ratios["lstm"] > 1e-3
    assert ratios["gru"] > 1e-3
    assert ratios["rnn"] < 1e-2 * min(ratios["lstm"], ratios["gru"])


@pytest.mark.parametrize("cell", GATED)
def test_with_pytorchs_own_start_a_gated_cell_forgets_too(cell):
    network = Recurrent(cell, FEATURES, 64, both_ways=False)
    network.forth[0].reset_parameters()
    assert remembered(network) < 1e-6


def diagnosed(name: str, lengths: list[int]):
    """The gradients of a network of the table over sequences of these lengths."""
    task = Classify(("a", "b"))
    network = task.network(ENCODERS.load(name)(FEATURES))
    count, longest = len(lengths), max(lengths)
    steps = torch.randn(count, longest, FEATURES)
    steps[~within(torch.tensor(lengths), longest)] = torch.nan
    batch = Batch(steps, torch.arange(count) % 2, torch.ones(count), torch.arange(count))
    return diagnose(network, task, batch)


@pytest.mark.parametrize("lengths", [[100] * 16, [80, 100, 120, 160] * 4])
@pytest.mark.parametrize("name", ["rnn", "seed-rnn"])
def test_a_simple_network_of_the_table_is_diagnosed_as_vanishing(name, lengths):
    found = diagnosed(name, lengths)
    assert found.verdict == "vanishing"
    last = {"rnn": ["forth.1", "back.1"], "seed-rnn": ["forth.0"]}[name]
    assert list(found.layers_named) == [f"backbone.encoder.{layer}" for layer in last]


@pytest.mark.parametrize("lengths", [[100] * 16, [80, 100, 120, 160] * 4])
@pytest.mark.parametrize("name", GATED)
def test_a_gated_network_of_the_table_is_diagnosed_as_healthy(name, lengths):
    found = diagnosed(name, lengths)
    assert found.verdict == "healthy", str(found)


def test_turning_round_twice_gives_the_sequence_back():
    steps = torch.randn(4, 9)
    places = turned(LENGTHS, 9, steps.device)
    assert torch.equal(steps.gather(1, places).gather(1, places), steps)
    assert torch.equal(turned(None, 9, steps.device), turned(torch.tensor([9]), 9, steps.device))


def test_lengths_are_counted_up_to_the_filling():
    steps = torch.randn(4, 9, FEATURES)
    steps[~within(LENGTHS, 9)] = torch.nan
    assert torch.equal(lengths_of(steps), LENGTHS)
