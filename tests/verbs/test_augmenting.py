"""Images are changed in the ways that were asked for, else in those that keep their labels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw

from kenspeckle.data.batch import Batch
from kenspeckle.data.fit import Fit
from kenspeckle.errors import MissingExtra, UsageError
from kenspeckle.recipe import Recipe
from kenspeckle.tasks import TASKS
from kenspeckle.training import fit as fit_module
from kenspeckle.verbs import augmenting
from kenspeckle.verbs.augmenting import chosen_augmentation
from kenspeckle.verbs.prepare import look, prepare
from kenspeckle.verbs.progress import quiet
from kenspeckle.verbs.train import train

CNN = ("--model", "cnn-tiny", "--epochs", "1", "--set", "training.precision=float32")


@pytest.fixture(scope="module")
def arrows(tmp_path_factory) -> Path:
    """30 arrows to the left and 30 to the right, 32 px, each somewhere in colours of its own."""
    folder, random = tmp_path_factory.mktemp("arrows"), np.random.default_rng(0)
    for name, way in (("left", -1), ("right", 1)):
        (folder / name).mkdir()
        for i in range(30):
            ground, ink = random.integers(0, 90, 3), random.integers(150, 256, 3)
            image = Image.new("RGB", (32, 32), tuple(ground.tolist()))
            x, y = random.integers(13, 19, 2).tolist()
            half, colour = int(random.integers(8, 12)), tuple(ink.tolist())
            pen, tip = ImageDraw.Draw(image), x + way * half
            pen.line((x - way * half, y, tip, y), fill=colour, width=3)
            back = tip - way * 7
            pen.polygon([(tip, y), (back, y - 6), (back, y + 6)], fill=colour)
            image.save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def waves(tmp_path_factory) -> Path:
    folder, random = tmp_path_factory.mktemp("waves"), np.random.default_rng(0)
    for name in ("one", "two"):
        (folder / name).mkdir()
        for i in range(8):
            np.save(folder / name / f"{i}.npy", random.normal(size=(5, 2)))
    return folder


@pytest.fixture
def choose(small, own_cache):
    """What is chosen for the small drawings with some settings."""

    def call(model: str = "cnn-tiny", **settings):
        recipe = Recipe(model=model).changed({f"training.{k}": v for k, v in settings.items()})
        prepared = prepare(look(small), Fit(28))
        task = TASKS.load("classify")(prepared.used.classes)
        return chosen_augmentation(prepared, recipe, task, np.arange(len(prepared.kept)), quiet)

    return call


@pytest.fixture
def unasked(monkeypatch):
    """Whoever asks which changes keep the label fails the test."""

    def fail(*arguments, **named):
        raise AssertionError("nobody should ask")

    monkeypatch.setattr(augmenting, "label_safety", fail)


def batch(count: int = 16) -> Batch:
    images = torch.randint(0, 256, (count, 3, 28, 28), dtype=torch.uint8)
    return Batch(images, torch.arange(count) % 2, torch.ones(count), torch.arange(count))


def report_of(run: Path) -> dict:
    return json.loads((run / "report.json").read_text("utf-8"))


@pytest.mark.parametrize("model", ["cnn-tiny", "seed-cnn"])
def test_names_that_are_asked_for_are_used(choose, unasked, model):
    chosen = choose(model, augment=["flip"])
    assert chosen.names == ("flip",)
    assert chosen.words == ("augmentation as asked: flip",)
    before = batch()
    after = chosen.change(before)
    mirrored = [
        torch.equal(new, old.flip(2)) for new, old in zip(after.images, before.images, strict=True)
    ]
    kept = [torch.equal(*pair) for pair in zip(after.images, before.images, strict=True)]
    assert [a or b for a, b in zip(mirrored, kept, strict=True)] == [True] * 16
    assert any(mirrored)
    assert any(kept)
    assert torch.equal(after.targets, before.targets)


def test_the_sheet_is_a_picture(choose, unasked):
    sheet = Image.open(io.BytesIO(choose(augment=["crop", "colour"]).sheet))
    assert sheet.format == "PNG"


def test_a_name_that_is_not_known_is_refused_with_the_nearest(choose):
    with pytest.raises(UsageError, match=r"no augmentation 'flipp'.*did you mean 'flip'"):
        choose(augment=["crop", "flipp"])


def test_an_unknown_name_is_one_line_on_the_command_line(ken, small, tmp_path):
    more = ("--set", "training.augment=[colr]", "--project", tmp_path, "-q")
    assert "did you mean 'colour'" in ken("train", small, *CNN, *more).refused(2)


@pytest.mark.parametrize("model", ["seed-cnn", "efficientnet-lite0"])
def test_other_networks_are_not_augmented_unasked(choose, unasked, model):
    chosen = choose(model)
    assert (chosen.names, chosen.change, chosen.words) == ((), None, ())


def test_full_batches_are_not_augmented_unasked(choose, unasked):
    assert choose(batch_size="full").change is None


def test_an_empty_list_turns_it_off(choose, unasked):
    chosen = choose(augment=[])
    assert (chosen.names, chosen.change, chosen.words) == ((), None, ())


def test_a_short_budget_leaves_no_time_to_ask(choose, unasked):
    chosen = choose(budget_seconds=5.0)
    assert chosen.change is None
    assert "leaves no time to ask" in chosen.words[0]


def test_without_the_packaged_network_nothing_is_changed(choose, unasked, monkeypatch):
    def absent(name):
        raise MissingExtra("not installed")

    monkeypatch.setattr(augmenting, "make_backbone", absent)
    chosen = choose()
    assert chosen.change is None
    assert "is absent" in chosen.words[0]


@pytest.mark.parametrize("mixing", [
    {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}
])  # fmt: skip
def test_mixing_makes_targets_soft(choose, unasked, mixing):
    chosen = choose(augment=[], **mixing)
    assert chosen.sheet is None
    assert all(name in chosen.words[0] for name in mixing)
    after = chosen.change(batch())
    assert after.targets.shape == (16, 2)
    assert torch.allclose(after.targets.sum(1), torch.ones(16))
    assert after.targets.min() >= 0
    assert ((after.targets > 0) & (after.targets < 1)).any()


def test_arrows_are_not_mirrored_and_the_pair_is_named(ken, arrows, tmp_path):
    out = ken("train", arrows, *CNN, "--project", tmp_path).went_well()
    (words,) = [w for w in report_of(tmp_path / "exp")["augmentation"] if w.startswith("flip")]
    assert words.startswith("flip is off: it turns ")
    assert "'left' into 'right'" in words or "'right' into 'left'" in words
    assert words in " ".join(out.split())
    recipe = yaml.safe_load((tmp_path / "exp" / "args.yaml").read_text("utf-8"))
    assert recipe["training"]["augment"]
    assert "flip" not in recipe["training"]["augment"]
    assert (tmp_path / "exp" / "augmentation.png").is_file()


def test_a_run_that_was_killed_goes_on_with_the_same_changes(
    ken, small, tmp_path, monkeypatch, own_cache, killed_after, killed
):
    monkeypatch.setattr(fit_module, "FIRST_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit_module, "SAVE_SHARE", 1e9)
    settings = {
        "model": "cnn-tiny",
        "training.augment": ["crop", "flip", "noise"],
        "training.mixup": 0.2,
        "training.epochs": 3,
        "training.batch_size": 4,
        "training.precision": "float32",
        "training.channels_last": False,
        "training.threads": 1,
    }
    for name, updates in (("whole", 99), ("cut", 6)):
        (tmp_path / name).mkdir()
        try:
            train(small, settings=settings, folder=tmp_path / name, tell=killed_after(updates))
        except killed:
            assert name == "cut"
    assert (tmp_path / "cut" / "checkpoints").is_dir()
    saved = yaml.safe_load((tmp_path / "cut" / "args.yaml").read_text("utf-8"))
    assert saved["training"]["augment"] == ["crop", "flip", "noise"]
    ken("train", "--resume", tmp_path / "cut", "-q").went_well()
    for name in ("weights/best.ken", "predictions.csv", "report.json", "augmentation.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_names_that_were_chosen_are_saved_and_not_asked_for_again(
    ken, small, tmp_path, monkeypatch, unasked
):
    monkeypatch.setattr(augmenting, "_names", lambda *rest: (("crop",), ("crop keeps it",)))
    ken("train", small, *CNN, "--project", tmp_path, "-q").went_well()
    run = tmp_path / "exp"
    assert yaml.safe_load((run / "args.yaml").read_text("utf-8"))["training"]["augment"] == ["crop"]
    weights = (run / "predictions.csv").read_bytes()
    monkeypatch.undo()
    monkeypatch.setattr(augmenting, "label_safety", None)  # a call would fail
    ken("train", "--resume", run, "-q").went_well()
    assert (run / "predictions.csv").read_bytes() == weights


@pytest.mark.parametrize("setting", ["training.augment=[flip]", "training.mixup=0.2"])
def test_sequences_cannot_be_changed(ken, waves, tmp_path, setting):
    more = ("--epochs", "1", "--set", setting, "--project", tmp_path, "-q")
    words = "Only images with classes" if "mix" in setting else "Only images can be changed"
    assert words in ken("train", waves, *more).refused(2)


def test_sequences_are_left_alone_unasked(ken, waves, tmp_path):
    ken("train", waves, "--epochs", "1", "--project", tmp_path, "-q").went_well()
    assert report_of(tmp_path / "exp")["augmentation"] == []
