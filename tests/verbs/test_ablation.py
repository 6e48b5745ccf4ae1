"""What each rule is worth: known values of a model whose outputs are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import File
from kenspeckle.errors import EmptyDataset, UnreadableImage, UsageError
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


def model_of(logits, task="classify"):
    """Says these logits of image 0, 1, ...; one of None cannot be read."""

    def outputs(some):
        rows = [logits[int(s.path[0])] for s in some]
        if None in rows:
            raise UnreadableImage("truncated", "the file breaks off")
        return torch.tensor(rows)

    return SimpleNamespace(
        task=Classify(CLASSES),
        bundle=SimpleNamespace(config=SimpleNamespace(task=task)),
        outputs=outputs,
    )


@pytest.fixture
def trial(monkeypatch, tmp_path):
    """Tries rules on `IMAGES`, or on others."""

    def made(text=TEXT, images=IMAGES, **named):
        samples = tuple(
            Sample(f"{i}.png", File(tmp_path / f"{i}.png"), label, facts={"place": place})
            for i, (label, place, _) in enumerate(images)
        )
        dataset = Dataset(str(tmp_path), samples, CLASSES)
        monkeypatch.setattr(ablation, "look", lambda *arguments, **named: dataset)
        (tmp_path / "rules.yaml").write_text(text)
        model = model_of([logits for _, _, logits in images])
        return ablation.try_rules(model, tmp_path / "rules.yaml", tmp_path, **named)

    return made


@pytest.fixture
def tried(trial):
    return trial()


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


def test_a_model_that_was_trained_without_rules_answers_beside(trial):
    never_wrong = model_of([[9.0 * (c == label) for c in CLASSES] for label, _, _ in IMAGES])
    tried = trial(beside=never_wrong)
    assert tried.beside.value == 1
    assert tried.gain.value == pytest.approx(3 / 5 - 1)
    assert tried.far == {}
    with pytest.raises(UsageError, match="of the task classify, the one beside it of tag"):
        trial(beside=model_of([], "tag"))


def test_answers_of_another_kind_are_counted_and_a_label_may_be_a_kind(trial):
    text = TEXT.replace("[cat, car, cow]", "{animal: [cat, cow], vehicle: [car]}")
    images = (("animal", "", (0.0, 0.0, 4.0)), *IMAGES[1:])
    tried = trial(text, images)
    assert tried.alone.value == pytest.approx(3 / 5)  # the cow is an animal
    assert tried.far == {"alone": pytest.approx(2 / 5), "ruled": pytest.approx(1 / 5)}


def test_images_with_a_label_that_the_rules_do_not_know_are_left_out(trial):
    strange = ("tree", "", (0.0, 0.0, 4.0))
    assert trial(images=(*IMAGES, strange)).images == 5
    with pytest.raises(EmptyDataset):
        trial(images=(strange,))


def test_images_that_cannot_be_read_are_told_and_left_out(trial):
    told = []
    tried = trial(images=(*IMAGES, ("cat", "road", None)), tell=told.append)
    assert tried.images == 5
    assert "5.png is not tried: the file breaks off" in [stage.words for stage in told]
    with pytest.raises(EmptyDataset):
        trial(images=(("cat", "road", None),))
