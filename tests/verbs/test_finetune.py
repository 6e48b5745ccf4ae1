"""Fine-tuning is kept where it pays beyond noise, and leaves no trace where it does not."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kenspeckle.data.fit import Fit
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import FeatureHead
from kenspeckle.recipe import Training
from kenspeckle.tasks.classify import Classify
from kenspeckle.verbs import finetune, train_features
from kenspeckle.verbs.finetune import Start, answered, fine_tuned
from kenspeckle.verbs.prepare import look, prepare
from kenspeckle.verbs.progress import quiet
from kenspeckle.verbs.train import train


class Tiny(Backbone):
    """(B, 3, H, W) -> two maps; the second stage is the tail."""

    channels = 16

    def __init__(self, has_tail: bool = True) -> None:
        super().__init__(3, mean=[0.5] * 3, std=[0.25] * 3)
        self.has_tail = has_tail
        self.first = self._stage(3, 8)
        self.second = self._stage(8, 16)

    @staticmethod
    def _stage(inside: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inside, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU())

    def tail(self) -> list[nn.Module]:
        return [self.second] if self.has_tail else []

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        first = self.first(self.prepare(images))
        return [first, self.second(first)]


def blank_head(rows: np.ndarray) -> FeatureHead:
    """One that knows nothing yet, so that any learning pays."""
    head = FeatureHead([16], 2, "unit")
    nn.init.zeros_(head.linear.weight)
    nn.init.zeros_(head.linear.bias)
    return head


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """32 reddish and 32 bluish images of noise, 16 px."""
    folder, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (folder / name).mkdir()
        for i in range(32):
            pixels = random.integers(0, 150, (16, 16, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return prepare(look(folder), Fit(16))


@pytest.fixture
def start(prepared, own_cache) -> Start:
    task = Classify(prepared.used.classes)
    torch.manual_seed(0)
    backbone = Tiny()
    backbone.train()(prepared.images[torch.arange(64)])  # normalisation gets statistics
    return Start(
        prepared=prepared,
        task=task,
        backbone=backbone.eval(),
        head=blank_head,
        targets=task.collate([sample.label for sample in prepared.used.samples]),
        learn=np.arange(64),
        recipe=Training(),
        precision="float32",
        seconds=None,
    )


def answering(monkeypatch, base: np.ndarray, tuned: np.ndarray) -> None:
    """Let the fixed features answer `base` and the network that went on `tuned`, untrained."""
    told = iter([base, tuned])
    monkeypatch.setattr(finetune, "_outputs", lambda *rest: next(told))
    monkeypatch.setattr(finetune, "_go_on", lambda *rest: None)


def some_logits(start: Start, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers before and after, by chance a little better or worse; and the gain of each image."""
    random = np.random.default_rng(seed)
    _, outside = finetune._halves(start)
    truth = start.targets[torch.from_numpy(outside)].numpy()
    base = random.normal(size=(len(truth), 2))
    tuned = base + random.normal(size=base.shape) + 0.7 * np.eye(2)[truth]
    return base, tuned, start.task.judge(base, truth)[0] - start.task.judge(tuned, truth)[0]


def pays(gains: np.ndarray) -> bool:
    return bool(gains.mean() > np.sqrt(np.var(gains, ddof=1) / len(gains)))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_kept_only_where_the_gain_exceeds_its_standard_error(start, monkeypatch, seed):
    base, tuned, gains = some_logits(start, seed)
    answering(monkeypatch, base, tuned)
    result = fine_tuned(start, quiet)
    assert (result.network is not None) == pays(gains)
    assert result.row["chosen"] == pays(gains)
    assert result.words.startswith("kept: " if pays(gains) else "dropped: ")


def test_of_the_answers_above_some_pay_and_some_do_not(start):
    assert {pays(some_logits(start, seed)[2]) for seed in range(6)} == {True, False}


def test_no_gain_at_all_is_no_reason(start, monkeypatch):
    base, *_ = some_logits(start, 0)
    answering(monkeypatch, base, base)
    result = fine_tuned(start, quiet)
    assert result.network is None
    assert result.task is start.task
    assert "a gain of 0.000 with a standard error of 0.000" in result.words


def test_the_words_and_the_row_say_the_numbers(start, monkeypatch):
    base, *_ = some_logits(start, 0)
    _, outside = finetune._halves(start)
    truth = start.targets[torch.from_numpy(outside)].numpy()
    tuned = base.copy()
    tuned[np.arange(len(truth)), truth] += 5
    before, after = (start.task.judge(x, truth)[0].mean() for x in (base, tuned))
    answering(monkeypatch, base, tuned)
    result = fine_tuned(start, quiet)
    assert f"on {len(outside)} held-out images" in result.words
    assert f"from {before:.3f} to {after:.3f}, a gain of {before - after:.3f}" in result.words
    assert result.row["loss"] == pytest.approx(after)
    assert result.row["words"] == result.words
    assert result.row["gain"]["low"] > 0
    assert json.dumps(result.row)


def test_no_image_is_both_learned_from_and_judged_on(start):
    inside, outside = finetune._halves(start)
    assert not set(inside) & set(outside)
    assert sorted([*inside, *outside]) == list(range(64))
    assert len(outside) == 16


def test_a_group_stays_on_one_side(start):
    grouped = replace(start.prepared, groups=np.arange(64) // 4)
    inside, outside = finetune._halves(replace(start, prepared=grouped))
    assert not set(inside // 4) & set(outside // 4)


def test_only_the_last_convolutions_and_the_head_learn(start, monkeypatch):
    monkeypatch.setattr(finetune, "RATE", 0.03)  # the tiny network has all to learn
    before = {name: value.clone() for name, value in start.backbone.state_dict().items()}
    result = fine_tuned(start, quiet)
    assert result.row["chosen"], result.words
    after = result.network.backbone.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"second.0.weight", "second.0.bias"}  # no statistics, no scale of a norm
    assert result.network.head.linear.weight.any()
    for name, value in start.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not result.network.training


def test_what_is_kept_is_calibrated_and_the_old_task_is_not(start, monkeypatch):
    monkeypatch.setattr(finetune, "RATE", 0.03)
    result = fine_tuned(start, quiet)
    assert result.task is not start.task
    assert start.task.temperature == 1.0


def test_the_network_answers_as_the_model_file_will(start):
    network = finetune._network(start, start.learn).eval()
    rows = np.array([5, 60, 1])
    with torch.no_grad():
        plain = network(start.prepared.images[torch.from_numpy(rows)])
    found = answered(network, start.prepared.images, rows, "float32")
    assert found == pytest.approx(plain.numpy(), abs=1e-4)


def test_a_head_far_too_sure_is_made_as_sure_as_it_is_right(start):
    start.task.temperature = 4.0

    def sure(rows):
        head = blank_head(rows)
        nn.init.constant_(head.linear.weight, 8.0)
        return head

    head = finetune._network(replace(start, head=sure), start.learn).head
    assert head.linear.weight.unique().tolist() == [2.0]


@pytest.mark.parametrize(("change", "why"), [
    ({"seconds": 1e-6}, "the budget leaves too little time"),
    ({"backbone": Tiny(has_tail=False)}, "does not say which of its stages are the last"),
    ({"learn": np.array([0, 40])}, "too few images of each class"),
])  # fmt: skip
def test_where_it_cannot_be_done_it_is_not_tried(start, change, why):
    result = fine_tuned(replace(start, **change), quiet)
    assert (result.network, result.row) == (None, None)
    assert result.task is start.task
    assert result.words.startswith("fine-tuning was not tried: ")
    assert why in result.words


def test_a_budget_sets_the_number_of_passes(start):
    _, inside = finetune._halves(start)
    network = finetune._network(start, inside)
    assert finetune._epochs(start, network, inside) == finetune.EPOCHS
    assert finetune._epochs(replace(start, seconds=1e4), network, inside) == finetune.EPOCHS
    assert finetune._epochs(replace(start, seconds=1e-9), network, inside) == 0


def test_timing_leaves_the_network_as_it_was(start):
    _, inside = finetune._halves(start)
    network = finetune._network(start, inside)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    finetune._epochs(replace(start, seconds=1.0), network, inside)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


FEATURES = {"data.image_size": 64, "head": "lda", "training.precision": "float32"}
HELD_OUT = {**FEATURES, "data.cross_validate_below": 2}


def files(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("predictions.csv", "split.csv")}


def run(data: Path, folder: Path, settings: dict, tell=quiet):
    folder.mkdir()
    return train(data, settings=settings, folder=folder, tell=tell)


def test_dropped_it_leaves_the_answers_of_the_features_as_they_were(
    small, tmp_path, monkeypatch, own_cache
):
    plain = run(small, tmp_path / "plain", {**HELD_OUT, "finetune": False})
    monkeypatch.setattr(finetune, "_go_on", lambda *rest: None)
    tried = run(small, tmp_path / "tried", {**HELD_OUT, "finetune": True})
    assert files(tmp_path / "tried") == files(tmp_path / "plain")
    assert tried.bundle.weights.keys() == plain.bundle.weights.keys()
    for name, value in plain.bundle.weights.items():
        assert torch.equal(tried.bundle.weights[name], value), name
    assert tried.task.temperature == plain.task.temperature
    *heads, row = tried.bundle.report["tried"]
    assert heads == list(plain.bundle.report["tried"])
    assert (row["name"], row["chosen"]) == ("fine-tuning the last stages", False)
    assert row["words"].startswith("dropped: ")
    assert row["words"] in tried.bundle.report["split"]["notes"]


def test_kept_it_answers_in_the_file_as_it_was_measured(small, tmp_path, monkeypatch, own_cache):
    def shaken(network, start, rows, epochs, tell):
        with torch.no_grad():
            network.backbone.last[0].weight.mul_(1.5)
            network.head.linear.bias.add_(torch.tensor([0.5, 0.0]))

    monkeypatch.setattr(finetune, "_go_on", shaken)
    sureness = iter([0.0, 6.0])

    def outputs(network, start, rows):
        return next(sureness) * np.eye(2)[start.targets[torch.from_numpy(rows)].numpy()]

    monkeypatch.setattr(finetune, "_outputs", outputs)
    model = run(small, tmp_path / "run", {**HELD_OUT, "finetune": True})
    assert model.bundle.report["tried"][-1]["chosen"]
    with (tmp_path / "run" / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    answers = model.predict([small / row["filename"] for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        for name in model.classes:
            assert answer.probabilities[name] == pytest.approx(float(row[name]), abs=1e-3)


def test_it_is_not_tried_under_cross_validation(small, tmp_path, monkeypatch, own_cache):
    def fail(*rest):
        raise AssertionError("it should not be tried")

    monkeypatch.setattr(train_features, "fine_tuned", fail)
    told = []
    run(small, tmp_path / "run", {**FEATURES, "finetune": True}, told.append)
    words = [stage.words for stage in told if stage.name == "fine-tuning"]
    assert words == [train_features.NOT_CROSSED]
    assert words[0].startswith("not tried: ")


@pytest.mark.parametrize(("settings", "is_tried"), [
    ({}, False),
    ({"training.budget_seconds": 60.0}, True),
    ({"training.budget_seconds": 60.0, "finetune": False}, False),
    ({"finetune": True}, True),
])  # fmt: skip
def test_it_is_tried_where_asked_for_or_where_a_budget_is_given(
    small, tmp_path, monkeypatch, own_cache, settings, is_tried
):
    asked = []

    def noted(start, tell):
        asked.append(start)
        return finetune._left(start, "this is a test")

    monkeypatch.setattr(train_features, "fine_tuned", noted)
    run(small, tmp_path / "run", {**HELD_OUT, **settings})
    assert len(asked) == is_tried
    if asked and "training.budget_seconds" in settings:
        assert 0 < asked[0].seconds < 60
