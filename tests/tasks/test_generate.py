"""The task that draws: what an epoch is, whose loss is whose, and what its scores say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.source import Text
from kenspeckle.errors import UsageError
from kenspeckle.tasks.generate import Generate
from kenspeckle.tasks.task import Choices

CLASSES = ("cat", "dog")


def task(**changes) -> Generate:
    sizes = {"image_size": 28, "latent": 8, "width": 4, "critic_width": 4}
    return Generate(CLASSES, **{**sizes, **changes})


def dataset(count: int = 4, **changes) -> Dataset:
    samples = tuple(Sample(f"{i}", Text(""), CLASSES[i % 2]) for i in range(count))
    return Dataset("pets", samples, CLASSES, **changes)


def test_few_images_make_an_epoch_as_long_as_many():
    images = torch.arange(7)[:, None, None, None]
    labels = ["dog", "cat", "dog", "cat", "cat", "cat", "dog"]
    weights = torch.arange(7.0)
    rows, targets, heavy = task().learnable(images, labels, weights, [(1, 1)] * 7, 0)
    assert Generate.learning.an_epoch <= len(rows) < Generate.learning.an_epoch + 7
    some = torch.tensor([0, 6, 7, 20_001])
    assert rows[some].flatten().tolist() == [i % 7 for i in some.tolist()]
    assert targets[some].tolist() == [1, 1, 1, [1, 0, 1, 0, 0, 0, 1][20_001 % 7]]
    assert heavy[some].tolist() == [i % 7 for i in some.tolist()]


def test_many_images_are_gone_over_once():
    images = torch.zeros(Generate.learning.an_epoch + 1, 1, 1, 1)
    rows, *_ = task().learnable(
        images, ["cat"] * len(images), torch.ones(len(images)), [(1, 1)] * len(images), 0
    )
    assert len(rows) == len(images)


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_each_player_has_a_loss_that_moves_it_alone(player):
    asked = task()
    network = asked.network(None).train()
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    batch = Batch(images, torch.tensor([0, 1, 0, 1]), torch.ones(4), torch.arange(4))
    asked.loss(network, batch, player).backward()
    parts = asked.players(network)
    assert list(parts) == ["critic", "generator"]
    for name, part in parts.items():
        assert any(p.grad is not None for p in part.parameters()) == (name == player)


def test_the_loss_counts_images_by_their_weights():
    asked = task()
    network = asked.network(None).eval()
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    losses = []
    for weights in ([1.0, 0.0], [0.0, 1.0], [1.0, 3.0]):
        torch.manual_seed(0)
        batch = Batch(images, torch.tensor([0, 1]), torch.tensor(weights), torch.arange(2))
        losses.append(asked.loss(network, batch, "generator").item())
    assert losses[2] == pytest.approx((losses[0] + 3 * losses[1]) / 4, rel=1e-5)


def test_a_seed_decides_class_and_image_whatever_else_is_drawn():
    asked = task()
    network = asked.network(None)
    images, classes = asked.drawn(network, range(5))
    assert classes.tolist() == [0, 1, 0, 1, 0]
    alone, of = asked.drawn(network, [3])
    assert of.tolist() == [1]
    assert (images[3].int() - alone[0].int()).abs().max() <= 1


def test_it_takes_channels_and_size_from_the_data():
    choices = Choices(fit=Fit(32), channels=3)
    asked = Generate.for_data(dataset(), range(4), choices)
    assert asked.network(None).generator(torch.zeros(1, 64), torch.tensor([0])).shape[1:] == (
        *(3, 32, 32),
    )


def test_rectangles_and_strings_are_refused():
    with pytest.raises(UsageError, match="Squares"):
        Generate.for_data(dataset(), range(4), Choices(fit=Fit(32, across=64)))
    with pytest.raises(UsageError, match="ken sample"):
        task().decode(torch.zeros(1), ["a.png"])


@pytest.mark.parametrize(
    ("typical", "side"),
    [(None, 32), ((20, 10), 28), ((28, 28), 28), ((29, 30), 32), ((600, 9), 32)],
)
def test_images_are_drawn_as_large_as_they_are_up_to_32(typical, side):
    assert Generate.shape_for(typical) == (side, side)


def answers(right: list[int], real: list[int], covered: list[int] | None) -> list[Answer]:
    return [
        Answer(
            f"{i}",
            CLASSES[i % 2] if ok else "neither",
            {},
            "",
            figures={
                "real_right": float(real[i]),
                **({} if covered is None else {"covered": float(covered[i])}),
            },
        )
        for i, ok in enumerate(right)
    ]


def test_scores_are_shares_of_the_test_images():
    given = answers([1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0])
    labels = [CLASSES[i % 2] for i in range(4)]
    scores = task().score(given, labels)
    assert {name: score.value for name, score in scores.items()} == {
        "train_on_generated_score": 0.75,
        "train_on_real_score": 1.0,
        "coverage_score": 0.25,
    }
    rows = task().details(given, labels)["drawn"]
    assert rows[0] == {"class": "cat", "n": 2, "generated": 0.5, "real_right": 1.0, "covered": 0.5}


def test_without_coverage_there_is_no_score_of_it():
    given = answers([1], [1], None)
    assert "coverage_score" not in task().score(given, ["cat"])
    assert task().details(given, ["cat"])["drawn"][0]["covered"] is None


def report(is_memorised: bool) -> dict:
    score = {"value": 0.9, "low": 0.85, "high": 0.94, "n": 200, "method": "Wilson"}
    return {
        "measured": {"n": 200, "how": "200 images held out for the test"},
        "scores": {"train_on_generated_score": score, "train_on_real_score": score},
        "likeness": {"is_memorised": is_memorised, "memorised": {"value": 0.2}},
    }


def test_copies_of_training_images_are_said_in_the_first_sentence():
    assert "copies of training images" in Generate.sentence(report(True))
    assert "copies" not in Generate.sentence(report(False))


def test_what_is_kept_rebuilds_the_network():
    one = task(channels=3)
    kept = {**one.kept(), "image_size": 28}
    again = Generate(CLASSES, **kept).network(None)
    again.load_state_dict(one.network(None).state_dict())
    assert np.prod(again.generator.first.weight.shape) > 0
