"""What each rule is worth: known values of a model whose outputs are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import File
from kenspeckle.tasks.classify import Classify
from kenspeckle.verbs import ablation

CLASSES = ("cat", "car", "cow")
# label, the side column, logits: the second and the third are wrong alone
IMAGES = (
    ("cat", "indoor", (4.0, 0.0, 0.0)),
    ("car", "road", (0.0, 2.0, 3.0)),
    ("cow", "road", (0.0, 3.0, 2.0)),
    ("cow", "indoor", (0.0, 0.0, 5.0)),
    ("cat", "road", (3.0, 1.0, 0.0)),
)
TEXT = """classes: [cat, car, cow]
columns: {place: [indoor, road, field]}
rules:
  - if road then car or cat
  - if indoor then not cow
  - never field and cat
"""


@pytest.fixture
def tried(monkeypatch, tmp_path):
    samples = tuple(
        Sample(f"{i}.png", File(tmp_path / f"{i}.png"), label, facts={"place": place})
        for i, (label, place, _) in enumerate(IMAGES)
    )
    dataset = Dataset(str(tmp_path), samples, CLASSES)
    monkeypatch.setattr(ablation, "look", lambda *arguments, **named: dataset)
    model = SimpleNamespace(
        task=Classify(CLASSES),
        bundle=SimpleNamespace(config=SimpleNamespace(task="classify")),
        outputs=lambda some: torch.tensor([IMAGES[int(s.path[0])][2] for s in some]),
    )
    (tmp_path / "rules.yaml").write_text(TEXT)
    return ablation.try_rules(model, tmp_path / "rules.yaml", tmp_path)


def test_right_answers_are_counted_without_rules_and_with_them(tried):
    assert tried.images == 5
    assert tried.alone.value == pytest.approx(3 / 5)
    assert tried.ruled.value == pytest.approx(3 / 5)


def test_each_rule_is_worth_what_changes_when_it_is_left_out(tried):
    road, indoor, both = tried.rules
    assert (road.name, road.fired, road.mended, road.spoiled) == ("L4", 1, 1, 0)
    assert (indoor.fired, indoor.mended, indoor.spoiled) == (1, 0, 1)
    assert indoor.spoiled_paths == ("3.png",)
    assert (both.fired, both.mended, both.spoiled) == (0, 0, 0)
    assert [rule.hurts for rule in tried.rules] == [False, True, False]
    assert road.gain.value == pytest.approx(1 / 5)
    assert indoor.gain.value == pytest.approx(-1 / 5)
