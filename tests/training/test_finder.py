from __future__ import annotations

import pytest
import torch

from kenspeckle.errors import UsageError
from kenspeckle.recipe import Training
from kenspeckle.training.finder import find_learning_rate, suggest


def test_the_sweep_rises_evenly_and_leaves_the_network_alone(tiny):
    network = tiny.cnn()
    before = [p.clone() for p in network.parameters()]
    recipe = Training(optimiser="momentum", batch_size=8)
    sweep = find_learning_rate(network, tiny.Classes(), tiny.batches(tiny.images()), recipe)
    ratios = [b / a for a, b in zip(sweep.rates, sweep.rates[1:], strict=False)]
    assert sweep.rates[0] == pytest.approx(1e-6)
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert sweep.rates[0] < sweep.suggestion < sweep.rates[-1]
    assert all(map(torch.equal, network.parameters(), before))


def test_a_sweep_that_blows_up_ends_early(tiny):
    points, targets = tiny.vectors()
    recipe = Training(optimiser="sgd", batch_size=8, weight_decay=0.0)
    batches = tiny.batches((points * 1000, targets))
    sweep = find_learning_rate(tiny.mlp(), tiny.Classes(), batches, recipe, high=1e6)
    assert sweep.blew_up
    assert len(sweep.rates) < 100


def test_a_curve_that_only_rises_suggests_a_tenth_of_its_start():
    assert suggest([1e-3, 1e-2, 1e-1], [1.0, 2.0, 3.0], fallback=1e-9) == pytest.approx(1e-4)


def test_lbfgs_has_no_rate_to_find(tiny):
    recipe = Training(optimiser="lbfgs", batch_size="full")
    with pytest.raises(UsageError, match="itself"):
        find_learning_rate(tiny.mlp(), tiny.Classes(), tiny.batches(tiny.vectors()), recipe)
