from __future__ import annotations

import torch
from torch import nn

from kenspeckle.training.penalties import l1_penalty, l2_penalty, sparsity, weights_of


def test_penalties_are_literal_sums():
    tensors = [torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])]
    assert l1_penalty(tensors).item() == 6
    assert l2_penalty(tensors).item() == 14


def test_a_penalty_on_nothing_is_zero():
    assert l1_penalty([]).item() == 0


def test_biases_norms_and_frozen_weights_are_left_alone():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    network[2].weight.requires_grad_(False)
    assert [w is network[0].weight for w in weights_of(network)] == [True]


def test_sparsity_counts_zeros():
    layer = nn.Linear(10, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0] * 7 + [1.0] * 3]))
    assert sparsity(layer) == 0.7
    assert sparsity(nn.ReLU()) == 0
