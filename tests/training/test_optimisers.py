from __future__ import annotations

import pytest
import torch
from torch import nn

from kenspeckle.errors import UsageError
from kenspeckle.training.optimisers import OPTIMISERS, default_learning_rate, make_optimiser


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_goes_downhill(name):
    point = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimiser = make_optimiser(name, [point])

    def loss():
        optimiser.zero_grad()
        value = point.square().sum()
        value.backward()
        return value

    for _ in range(20):
        optimiser.step(loss)
    assert point.square().sum() < 2
    assert optimiser.param_groups[0]["lr"] == default_learning_rate(name)


def test_nesterov_takes_its_textbook_step():
    point = nn.Parameter(torch.tensor(1.0))
    optimiser = make_optimiser("nesterov", [point], 0.1)
    point.grad = torch.tensor(1.0)
    optimiser.step()  # v = 1; w <- w - rate * (g + 0.9 v)
    assert point.item() == pytest.approx(1 - 0.1 * 1.9)


def test_an_unknown_optimiser_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'nesterov'"):
        make_optimiser("nestrov", [nn.Parameter(torch.zeros(1))])


def test_a_frozen_network_is_refused():
    with pytest.raises(UsageError, match="every parameter is frozen"):
        make_optimiser("sgd", [])
