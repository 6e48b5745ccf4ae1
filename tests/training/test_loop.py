from __future__ import annotations

import pytest
import torch
from torch import nn

from kenspeckle.errors import EmptyDataset, UsageError
from kenspeckle.recipe import Training
from kenspeckle.training.loop import TrainingDiverged, train
from kenspeckle.training.optimisers import OPTIMISERS
from kenspeckle.training.schedules import Constant, Cosine

PLAIN = Training(
    optimiser="sgd", learning_rate=0.1, weight_decay=0.0, schedule="constant", batch_size=8
)


def changed(recipe, **settings):
    return Training(**{**vars(recipe), **settings})


def run(tiny, network, batches, recipe, schedule=None):
    """All the steps of a run, done."""
    return list(train(network, tiny.Classes(), batches, recipe, schedule=schedule or Constant()))


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def by_hand(tiny, network, batches, count, optimiser, decay=0.0, rate=0.1):
    """The loop as a tutorial writes it."""
    task, done = tiny.Classes(), 0
    while done < count:
        for (batch,) in batches.epoch(done // len(batches)):
            optimiser.zero_grad()
            task.loss(network, batch, "network").backward()
            with torch.no_grad():
                for p in network.parameters():
                    p.mul_(1 - rate * decay if p.ndim > 1 else 1)
            optimiser.step()
            done += 1
    return network


def test_plain_descent_is_the_textbooks(tiny):
    ours, theirs = tiny.mlp(), tiny.mlp()
    batches = tiny.batches(tiny.vectors())
    run(tiny, ours, batches, changed(PLAIN, steps=10))
    by_hand(tiny, theirs, batches, 10, torch.optim.SGD(theirs.parameters(), lr=0.1))
    assert torch.equal(weights(ours), weights(theirs))


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adam"])
def test_weight_decay_is_decoupled_for_every_optimiser(tiny, name):
    ours, theirs = tiny.mlp(), tiny.mlp()
    batches = tiny.batches(tiny.vectors())
    recipe = changed(PLAIN, steps=5, optimiser=name, learning_rate=0.01, weight_decay=2.0)
    run(tiny, ours, batches, recipe)
    optimiser = OPTIMISERS[name].make(list(theirs.parameters()), 0.01)
    by_hand(tiny, theirs, batches, 5, optimiser, decay=2.0, rate=0.01)
    assert torch.allclose(weights(ours), weights(theirs), rtol=0, atol=1e-7)


def test_adamw_is_torchs(tiny):
    ours, theirs = tiny.mlp(), tiny.mlp()
    batches = tiny.batches(tiny.vectors())
    recipe = changed(PLAIN, steps=10, optimiser="adamw", learning_rate=0.01, weight_decay=0.5)
    run(tiny, ours, batches, recipe)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.5},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    by_hand(tiny, theirs, batches, 10, torch.optim.AdamW(groups, lr=0.01))
    assert torch.allclose(weights(ours), weights(theirs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("piece", [7, 16, 39])
def test_pieces_add_up_to_the_full_batch(tiny, piece):
    counts = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    counts[:7] = 0  # one piece may hold no image that counts
    recipe = changed(PLAIN, steps=5, batch_size="full", l1=1e-3, l2=1e-3)
    whole, pieces = tiny.mlp().double(), tiny.mlp().double()
    data = tiny.vectors()
    data = (data[0].double(), data[1])
    for network, size in ((whole, 256), (pieces, piece)):
        batches = tiny.batches(data, "full", seed=None, weights=counts, piece=size)
        run(tiny, network, batches, recipe)
    assert torch.allclose(weights(whole), weights(pieces), rtol=0, atol=1e-12)


def test_literal_penalties_have_their_textbook_gradient(tiny):
    ours, plain = tiny.mlp(), tiny.mlp()
    start = tiny.mlp()[0].weight.detach()
    batches = tiny.batches(tiny.vectors())
    run(tiny, ours, batches, changed(PLAIN, steps=1, l1=0.5, l2=0.25))
    run(tiny, plain, batches, changed(PLAIN, steps=1))
    expected = plain[0].weight - 0.1 * (0.5 * start.sign() + 0.25 * 2 * start)
    assert torch.allclose(ours[0].weight, expected, atol=1e-6)
    assert torch.allclose(ours[0].bias, plain[0].bias)


def test_the_schedule_sets_the_rate(tiny):
    steps = run(tiny, tiny.mlp(), tiny.batches(tiny.vectors()), changed(PLAIN, steps=4), Cosine())
    rates = [step.learning_rate for step in steps]
    assert rates == pytest.approx([0.1 * Cosine().factor(done / 4) for done in range(4)])


def test_clipping_bounds_the_step_and_reports_the_norm(tiny):
    network, before = tiny.mlp(), weights(tiny.mlp())
    recipe = changed(PLAIN, steps=1, clip=1e-3)
    (step,) = run(tiny, network, tiny.batches(tiny.vectors()), recipe)
    assert step.gradient_norm > 1e-3
    assert (weights(network) - before).norm().item() <= 0.1 * 1e-3 * 1.01


def test_the_average_follows_its_recurrence(tiny):
    network, batches = tiny.mlp(), tiny.batches(tiny.vectors())
    average, recipe = weights(network), changed(PLAIN, steps=12, averaging=0.5)
    for step in train(network, tiny.Classes(), batches, recipe, schedule=Constant()):
        decay = min(0.5, (1 + step.step) / (10 + step.step))
        average = decay * average + (1 - decay) * weights(network)
    kept = torch.cat([value.flatten() for value in step.weights().values()])
    assert torch.allclose(kept, average, atol=1e-6)


def test_dropout_depends_on_seed_and_step_alone(tiny):
    batches, recipe = tiny.batches(tiny.images()), changed(PLAIN, steps=6)
    first, second, other = tiny.cnn(), tiny.cnn(), tiny.cnn()
    run(tiny, first, batches, recipe)
    for _ in train(second, tiny.Classes(), batches, recipe, schedule=Constant()):
        torch.rand(3)  # whatever is drawn between two updates
    run(tiny, other, batches, changed(recipe, seed=1))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("stop", [1, 5, 8, 10])
@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != "lbfgs"])
def test_a_run_in_two_parts_is_the_run_in_one(tiny, name, stop):
    batches = tiny.batches(tiny.images())
    recipe = changed(PLAIN, steps=12, optimiser=name, averaging=0.9, learning_rate=1e-2)
    whole, part, rest = tiny.cnn(), tiny.cnn(), tiny.cnn(seed=5)
    last = run(tiny, whole, batches, recipe)[-1]
    for step in train(part, tiny.Classes(), batches, recipe, schedule=Constant()):
        if step.step == stop:
            break
    steps = train(rest, tiny.Classes(), batches, recipe, schedule=Constant(), state=step.state())
    end = list(steps)[-1]
    assert torch.equal(weights(whole), weights(rest))
    assert all(torch.equal(a, end.weights()[name]) for name, a in last.weights().items())


def test_a_state_is_not_changed_by_later_updates(tiny):
    steps = train(
        tiny.cnn(), tiny.Classes(), tiny.batches(tiny.images()), PLAIN, schedule=Constant()
    )
    state = next(steps).state()
    before = state.network["0.weight"].clone()
    next(steps)
    assert torch.equal(state.network["0.weight"], before)


def test_a_state_of_another_network_is_refused(tiny):
    batches = tiny.batches(tiny.vectors())
    state = next(train(tiny.mlp(), tiny.Classes(), batches, PLAIN, schedule=Constant())).state()
    steps = train(tiny.cnn(), tiny.Classes(), batches, PLAIN, schedule=Constant(), state=state)
    with pytest.raises(UsageError, match=r"another network: 0\.weight"):
        next(steps)


def test_a_loss_that_is_no_number_says_where_and_what_to_do(tiny):
    points, targets = tiny.vectors()
    points[0] = float("inf")
    batches = tiny.batches((points, targets), seed=None)
    with pytest.raises(TrainingDiverged, match=r"nan at update 1, .* rate of 0.1"):
        run(tiny, tiny.mlp(), batches, PLAIN)


def test_bfloat16_comes_near_float32(tiny):
    batches, recipe = tiny.batches(tiny.images()), changed(PLAIN, steps=10)
    ours, theirs = tiny.cnn(dropout=0), tiny.cnn(dropout=0)
    run(tiny, ours, batches, changed(recipe, precision="bfloat16"))
    run(tiny, theirs, batches, recipe)
    assert ours[0].weight.dtype == torch.float32
    assert not torch.equal(weights(ours), weights(theirs))
    assert (weights(ours) - weights(theirs)).norm() < 0.02 * weights(theirs).norm()


def test_frozen_parameters_stay(tiny):
    network = tiny.cnn()
    network[0].requires_grad_(False)
    before = network[0].weight.clone()
    run(tiny, network, tiny.batches(tiny.images()), changed(PLAIN, steps=3, weight_decay=1.0))
    assert torch.equal(network[0].weight, before)


def test_two_players_train_their_own_parts(tiny):
    class Two(tiny.Classes):
        def players(self, network):
            return {"first": network[0], "last": network[2]}

        def loss(self, network, batch, player):
            value = super().loss(network, batch, player)
            return value if player == "first" else -value

    network, start = tiny.mlp(), tiny.mlp()
    batches = tiny.batches(tiny.vectors())
    (step,) = train(network, Two(), batches, changed(PLAIN, steps=1), schedule=Constant())
    assert set(step.losses) == {"first", "last"}
    one = tiny.mlp()
    run(tiny, one, batches, changed(PLAIN, steps=1))
    assert torch.equal(network[0].weight, one[0].weight)
    assert not torch.equal(network[2].weight, start[2].weight)


@pytest.mark.parametrize(
    ("network", "piece", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), 8, "1 .BatchNorm1d. would"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), 99, "1 drops values"),
    ],
)
def test_a_full_batch_that_cannot_be_exact_is_refused(tiny, network, piece, message):
    batches = tiny.batches(tiny.vectors(), "full", piece=piece)
    with pytest.raises(UsageError, match=message):
        run(tiny, network(), batches, changed(PLAIN, batch_size="full"))
    run(tiny, network().eval(), batches, changed(PLAIN, batch_size="full", steps=1))


def test_lbfgs_needs_the_full_batch(tiny):
    with pytest.raises(UsageError, match="needs every image"):
        run(tiny, tiny.mlp(), tiny.batches(tiny.vectors()), changed(PLAIN, optimiser="lbfgs"))


def test_lbfgs_reaches_the_bottom_of_a_convex_bowl(tiny):
    network = nn.Linear(4, 3)
    batches = tiny.batches(tiny.vectors(), "full", piece=16)
    recipe = Training(
        optimiser="lbfgs", batch_size="full", steps=20, weight_decay=0.02, schedule="constant"
    )
    run(tiny, network, batches, recipe)
    network.zero_grad()
    (batch,) = next(tiny.batches(tiny.vectors(), "full").epoch(0))
    loss = tiny.Classes().loss(network, batch, "network") + 0.01 * network.weight.square().sum()
    loss.backward()
    assert network.weight.grad.norm() < 1e-3


def test_no_image_is_refused(tiny):
    with pytest.raises(EmptyDataset):
        run(tiny, tiny.mlp(), tiny.batches((torch.zeros(0, 4), torch.zeros(0))), PLAIN)
