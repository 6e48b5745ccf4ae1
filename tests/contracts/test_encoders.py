"""Every sequence network of the table reads sequences of any length, under every task over them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kenspeckle.bundle.bundle import Bundle, load
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.batch import Batch
from kenspeckle.data.sequence import padded
from kenspeckle.models import ENCODERS
from kenspeckle.models.backbone import Input
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.models.sequence import within
from kenspeckle.tasks import TASKS
from kenspeckle.tasks.task import ClassTask

CLASSES = ("a", "b", "c")
FEATURES = 5
LENGTHS = (1, 3, 9)
NAMES = [n for n in ENCODERS if ENCODERS.row(n).facts.get("reads", "sequences") == "sequences"]
TASKS_OVER_SEQUENCES = [name for name in TASKS if issubclass(TASKS.load(name), ClassTask)]
PAIRS = list(itertools.product(NAMES, TASKS_OVER_SEQUENCES))


def head_of(name: str) -> str:
    return ENCODERS.row(name).facts.get("head", "pooled")


def world(name: str, task: str = "classify", classes: tuple[str, ...] = CLASSES):
    """A fresh network, its task, and three sequences."""
    asked = TASKS.load(task)(classes, head=head_of(name))
    network = asked.network(make_backbone(name, fresh=True, built=Input(features=FEATURES)))
    random = np.random.default_rng(0)
    steps = [random.normal(size=(n, FEATURES)).astype(np.float32) for n in LENGTHS]
    return asked, network, steps


def encoder(name: str) -> nn.Module:
    """The bare encoder in eval mode."""
    return make_backbone(name, fresh=True, built=Input(features=FEATURES)).encoder.eval()


def filled(steps: Tensor, filling: float) -> Tensor:
    """The same steps with something else past their lengths."""
    inside = within(torch.tensor(LENGTHS), steps.shape[1])
    return steps.masked_fill(~inside[..., None], filling)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_one_row_of_logits_a_sequence(name, task):
    _, network, steps = world(name, task)
    logits = network.eval()(padded(steps))
    assert logits.shape == (3, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_sequence_alone_is_answered_as_among_others(name, task):
    asked, network, steps = world(name, task)
    network.eval()
    with torch.no_grad():
        together = network(padded(steps))
        alone = torch.cat([network(padded([s])) for s in steps])
    assert torch.allclose(together, alone, atol=1e-4)
    paths = ["1.npy", "2.npy", "3.npy"]
    one, other = asked.decode(together, paths), asked.decode(alone, paths)
    assert [answer.label for answer in one] == [answer.label for answer in other]


@pytest.mark.parametrize("name", NAMES)
def test_sequences_of_one_length_are_answered_as_among_shorter_ones(name):
    _, network, steps = world(name)
    network.eval()
    both = padded([steps[2], steps[2] + 1])
    with torch.no_grad():
        among = network(padded([steps[2], steps[2] + 1, steps[0]]))[:2]
        assert torch.allclose(network(both), among, atol=1e-4)


@pytest.mark.parametrize("filling", [0.0, 1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_what_stands_past_a_length_never_matters(name, filling):
    network = encoder(name)
    steps, lengths = torch.randn(3, max(LENGTHS), FEATURES), torch.tensor(LENGTHS)
    with torch.no_grad():
        states, summary = network(filled(steps, 0.5), lengths)
        other_states, other_summary = network(filled(steps, filling), lengths)
        assert torch.equal(states, other_states)
        assert torch.equal(summary, other_summary)
        assert not states[~within(lengths, steps.shape[1])].any()
        for row, length in enumerate(LENGTHS):
            bare_states, bare_summary = network(steps[row : row + 1, :length])
            assert torch.allclose(states[row, :length], bare_states[0], atol=1e-5)
            assert torch.allclose(summary[row], bare_summary[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_flows_past_a_length(name):
    network, lengths = encoder(name), torch.tensor(LENGTHS)
    steps = torch.randn(3, max(LENGTHS), FEATURES, requires_grad=True)
    states, summary = network(steps, lengths)
    (states.sin().sum() + summary.sin().sum()).backward()
    inside = within(lengths, steps.shape[1])
    assert not steps.grad[~inside].any()
    assert (steps.grad[inside].abs().sum(1) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_states_and_summary_are_as_wide_as_it_says(name):
    network = encoder(name)
    states, summary = network(torch.randn(2, 4, FEATURES))
    assert states.shape == (2, 4, network.width)
    assert summary.shape == (2, network.width)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_gradients_reach_every_weight(name, task):
    asked, network, steps = world(name, task)
    targets = asked.collate(["a", "c", "b"])
    batch = Batch(padded(steps), targets, torch.ones(3), torch.arange(3))
    sum(asked.loss(network, batch, player) for player in asked.players(network)).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_model_file_gives_the_same_network_back(name, task, tmp_path):
    asked, network, steps = world(name, task)
    network.backbone.learn_statistics(padded(steps))
    config = Config(
        task=task,
        model=name,
        classes=CLASSES,
        head=head_of(name),
        image_size=64,
        resize="pad",
        features=FEATURES,
        settings=asked.kept(),
    )
    Bundle(config=config, weights=network.state_dict()).save(tmp_path / "m.ken")
    again = load(tmp_path / "m.ken").network()
    with torch.no_grad():
        assert torch.equal(again(padded(steps)), network.eval()(padded(steps)))


@pytest.mark.parametrize("name", NAMES)
def test_one_step_is_a_sequence(name):
    asked, network, steps = world(name)
    batch = Batch(padded(steps[:1]), torch.tensor([1]), torch.ones(1), torch.arange(1))
    loss = asked.loss(network, batch, "network")
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_statistics_of_each_feature_are_those_of_the_steps(name):
    _, network, steps = world(name)
    network.backbone.learn_statistics(padded(steps))
    every = np.concatenate(steps)
    assert np.allclose(network.backbone.mean.flatten(), every.mean(0), atol=1e-5)
    assert np.allclose(network.backbone.std.flatten(), every.std(0, ddof=1), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_scale_and_place_of_a_feature_do_not_count_once_learned(name):
    _, network, steps = world(name)
    network.eval()
    with torch.no_grad():
        answers = []
        for scale, place in ((1.0, 0.0), (50.0, -300.0)):
            moved = padded([(scale * s + place).astype(np.float32) for s in steps])
            network.backbone.learn_statistics(moved)
            answers.append(network(moved))
    assert torch.allclose(*answers, atol=1e-3)


def test_the_seeds_network_has_one_sigmoid_for_two_classes():
    asked, network, steps = world("seed-rnn", classes=("no", "yes"))
    with torch.no_grad():
        logits = network.eval()(padded(steps))
        hidden = network.backbone(padded(steps)).flatten(1)
        p_yes = torch.sigmoid(network.head.linear(hidden))[:, 0]
    assert network.head.linear.out_features == 1
    assert torch.allclose(asked.probabilities(logits)[:, 1], p_yes)
