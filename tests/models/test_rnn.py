"""The network that sweeps an image hears all of it at every place, and equals a plain loop."""

from __future__ import annotations

import pytest
import torch

from kenspeckle.models.backbone import Backbone
from kenspeckle.models.rnn import Sweep, gru, lstm, simple

CELLS = ["rnn", "lstm", "gru"]


@pytest.mark.parametrize("make", [simple, lstm, gru])
def test_two_maps_with_a_place_for_each_four_by_four_pixels(make):
    network = make().eval()
    maps = network.stages(torch.rand(2, 3, 30, 17))
    assert [tuple(m.shape) for m in maps] == [(2, network.channels, 8, 5)] * 2


@pytest.mark.parametrize(("make", "millions"), [(simple, 0.1), (lstm, 0.4), (gru, 0.3)])
def test_it_has_as_many_weights_as_it_says(make, millions):
    assert round(sum(p.numel() for p in make().parameters()) / 1e6, 1) == millions


def by_loops(network: Sweep, images: torch.Tensor) -> list[torch.Tensor]:
    """Row by row, then column by column, each alone."""
    steps = network.patch(network.prepare(images))
    rows = [network.across(row.transpose(1, 2))[0].transpose(1, 2) for row in steps.unbind(2)]
    first = torch.stack(rows, 2)
    columns = [network.down(c.transpose(1, 2))[0].transpose(1, 2) for c in first.unbind(3)]
    return [first, torch.stack(columns, 3)]


@pytest.mark.parametrize("cell", CELLS)
def test_it_equals_rows_and_then_columns_one_at_a_time(cell):
    network, images = Sweep(cell, 12).eval(), torch.rand(2, 3, 20, 28)
    with torch.no_grad():
        for ours, theirs in zip(network.stages(images), by_loops(network, images), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_every_place_of_the_waist_hears_of_every_pixel(cell):
    network = Sweep(cell, 8).eval()
    for row, column in ((0, 0), (0, 3), (2, 1), (3, 3)):
        images = torch.rand(1, 3, 16, 16, requires_grad=True)
        network(images)[0, :, row, column].sin().sum().backward()
        assert (images.grad.abs().sum(1) > 0).all()


def swap_ways(network: Backbone) -> None:
    """Read each row from right to left first, with the halves of what follows exchanged."""
    forth, back = network.across.forth, network.across.back
    network.across.forth, network.across.back = back, forth
    half = network.across.width // 2
    with torch.no_grad():
        network.patch.weight.copy_(network.patch.weight.flip(3))
        for way in (network.down.forth[0], network.down.back[0]):
            way.weight_ih_l0.copy_(way.weight_ih_l0.roll(half, 1))


def test_a_mirrored_image_gives_a_mirrored_map_with_mirrored_weights():
    network, images = Sweep("gru", 8).eval(), torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        waist = network(images)
        swap_ways(network)
        mirrored = network(images.flip(3))
    assert torch.allclose(waist.flip(3), mirrored, atol=1e-5)


def test_sides_that_four_does_not_divide_end_in_the_mean_colour():
    network, images = Sweep("rnn", 8).eval(), torch.rand(1, 3, 6, 7)
    whole = network.mean.expand(1, 3, 8, 8).clone()
    whole[:, :, :6, :7] = images
    with torch.no_grad():
        assert torch.allclose(network(images), network(whole), atol=1e-6)
