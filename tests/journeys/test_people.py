"""Things are learned, enrolled, recognised again, compared and forgotten, by the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kenspeckle.verbs.model import load


def photograph(folder: Path, fields: np.ndarray, count: int, random: np.random.Generator) -> None:
    """A badge of coloured fields, moved and dimmed a little each time."""
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.roll(fields, random.integers(-2, 3, 2), (0, 1)) * random.uniform(0.8, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """`known/` with 8 badges of 4 images, and `new/` with 2 others of 3."""
    place, random = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    names = [f"known/badge {k}" for k in range(8)] + ["new/dora", "new/emil"]
    for name in names:
        fields = random.integers(0, 255, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
        photograph(place / name, fields, 4 if name.startswith("known") else 3, random)
    return place


@pytest.fixture(scope="module")
def run(ken, world, tmp_path_factory) -> Path:
    project = tmp_path_factory.mktemp("runs")
    choices = ("--set", "training.epochs=2", "--set", "false_accepts=0.05")
    ken("train", world / "known", "--task", "match", *choices, "--project", project).went_well()
    return project / "exp"


@pytest.fixture
def model(run, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(run / "weights" / "best.ken", tmp_path / "badges.ken"))


def names_in(path: Path) -> tuple[str, ...]:
    return load(path).task.gallery.people


def test_a_run_leaves_a_report_with_its_caution(run):
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert report["people"] == 2
    assert report["sentence"].startswith("Of 2 people, places or things that it had not learned")
    page = (run / "report.html").read_text("utf-8")
    assert "needs their consent" in page
    assert "Same or different" in page
    assert "ken enroll weights/best.ken" in page
    assert "ken explain" not in page


def test_the_people_held_out_are_in_one_part_each(run):
    with (run / "split.csv").open() as file:
        parts = {(row["label"], row["split"]) for row in csv.DictReader(file)}
    assert len(parts) == 8
    assert [part for _, part in parts].count("test") == 2


def test_predict_identifies(ken, world, model):
    out = ken("predict", world / "known" / "badge 3" / "0.png", "-m", model).went_well()
    assert out.endswith("0.png: badge 3 (similarity 1.00)\n")
    out = ken("predict", world / "new" / "dora", "-m", model).went_well()
    assert out.count("nobody that is enrolled (the nearest is ") == 3


def test_predictions_are_written_to_a_table(ken, world, model, tmp_path):
    ken("predict", world, "-m", model, "-o", tmp_path / "said.csv", "-q").went_well()
    with (tmp_path / "said.csv").open() as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert (len(labels), labels.count("unknown"), labels.count("badge 0")) == (38, 6, 4)


def test_who_is_enrolled_is_identified_and_who_is_removed_is_not(ken, world, model):
    dora = world / "new" / "dora"
    said = ken("enroll", model, "dora", dora / "0.png", dora / "1.png").went_well()
    assert said == f"dora is known by 2 images; 9 enrolled in {model}\n"
    said = ken(
        "identify", "-m", model, dora / "2.png", world / "new" / "emil" / "0.png"
    ).went_well()
    first, second = said.splitlines()
    assert "2.png: dora (similarity 0." in first
    assert "0.png: nobody that is enrolled" in second
    said = ken("enroll", model, "--remove", "dora").went_well()
    assert said == f"dora is forgotten; 8 enrolled in {model}\n"
    assert "nobody" in ken("identify", "-m", model, dora / "2.png").went_well()


def test_removing_leaves_neither_name_nor_path_nor_vector(ken, model):
    before = load(model).bundle
    ken("enroll", model, "--remove", "badge 5").went_well()
    content = model.read_bytes()
    assert b"badge 5" not in content
    after = load(model).bundle
    kept = [i for i, name in enumerate(before.config.labels) if name != "badge 5"]
    assert np.array_equal(after.vectors.numpy(), before.vectors.numpy()[kept])
    assert after.config.classes == tuple(f"badge {k}" for k in range(8) if k != 5)
    assert after.report["sentence"] == before.report["sentence"]
    assert after.report["scores"] == before.report["scores"]


def test_the_last_one_can_be_removed_and_nobody_is_left(ken, world, model):
    for name in names_in(model):
        ken("enroll", model, "--remove", name).went_well()
    assert names_in(model) == ()
    image = world / "known" / "badge 1" / "0.png"
    assert (
        ken("identify", "-m", model, image).went_well() == f"{image}: nobody: no one is enrolled\n"
    )
    ken("enroll", model, "one", image).went_well()
    out = ken("predict", "-m", model, world / "known" / "badge 1" / "1.png").went_well()
    assert "one (similarity" in out


def test_another_file_can_be_written_instead(ken, world, model, tmp_path):
    before = model.read_bytes()
    other = tmp_path / "other.ken"
    ken("enroll", model, "emil", world / "new" / "emil", "-o", other).went_well()
    assert model.read_bytes() == before
    assert names_in(other) == (*names_in(model), "emil")


def test_who_is_enrolled_is_listed(ken, model):
    lines = ken("enroll", model).went_well().splitlines()
    assert lines[0].split() == ["enrolled", "images"]
    assert lines[1] == "badge 0   4"
    listed = json.loads(ken("enroll", model, "--json").went_well())
    assert listed["people"] == {f"badge {k}": 4 for k in range(8)}


def test_an_image_that_cannot_be_read_enrols_nobody(ken, world, model, tmp_path):
    before = model.read_bytes()
    (tmp_path / "broken.png").write_text("no image")
    good = world / "new" / "dora" / "0.png"
    words = ken("enroll", model, "dora", good, tmp_path / "broken.png").refused(3)
    assert "1 of 2 images cannot be read, so nothing was done" in words
    assert model.read_bytes() == before


def test_a_name_that_is_not_there_names_the_nearest(ken, model):
    words = ken("enroll", model, "--remove", "badge 33").refused(2)
    assert "did you mean 'badge 3'?" in words


def test_what_enroll_cannot_do_is_said(ken, world, model):
    image = world / "new" / "dora" / "0.png"
    assert "IMAGE" in ken("enroll", model, "dora").refused(2)
    assert "--remove" in ken("enroll", model, "dora", image, "--remove", "badge 1").refused(2)
    assert "empty" in ken("enroll", model, " ", image).refused(2)
    assert "There is no" in ken("enroll", model, "dora", "nowhere.png").refused(3)


def test_others_are_shown_and_a_broken_file_is_named(ken, world, model, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    image = world / "known" / "badge 2" / "1.png"
    said = ken("identify", "-m", model, tmp_path / "broken.png", image, "--json")
    assert said.code == 3
    broken, found = json.loads(said.out)
    assert (broken["name"], broken["matches"], broken["nearest"]) == (None, [], None)
    assert broken["error"]
    assert (found["name"], found["nearest"]["name"]) == ("badge 2", "badge 2")
    assert found["matches"][0]["path"].startswith("badge 2/")


def test_two_images_are_compared(ken, world, model):
    one, same = (world / "new" / "dora" / f"{i}.png" for i in range(2))
    other = world / "new" / "emil" / "0.png"
    assert ken("verify", "-m", model, one, same).went_well().startswith("the same (similarity 0.")
    assert (
        ken("verify", "-m", model, one, other).went_well().startswith("not the same (similarity ")
    )
    told = json.loads(ken("verify", "-m", model, one, same, "--json").went_well())
    assert told["same"] is True
    assert told["similarity"] >= told["threshold"]
    back = json.loads(ken("verify", "-m", model, same, one, "--json").went_well())
    assert back["similarity"] == pytest.approx(told["similarity"], abs=1e-4)


def test_people_the_model_has_never_met_are_measured(ken, world, model):
    out = ken("val", world / "new", "-m", model).went_well()
    assert "measured on 6 images (all images)" in out
    assert "stranger error" in out
    report = json.loads(ken("val", world / "new", "-m", model, "--json").went_well())
    assert report["people"] == 2
    assert report["scores"]["roc_auc_score"]["value"] == 1


def test_the_report_of_a_model_file_can_be_written(ken, model, tmp_path):
    ken("report", model, "--output", tmp_path / "told").went_well()
    assert "When somebody is named" in (tmp_path / "told" / "report.html").read_text("utf-8")


def test_a_model_of_classes_enrols_nobody(ken, small_model, small):
    image = next(small.rglob("*.png"))
    for line in (
        ("enroll", small_model, "anna", image),
        ("identify", "-m", small_model, image),
        ("verify", "-m", small_model, image, image),
    ):
        assert "Train one with `ken train FOLDER --task match`" in ken(*line).refused(2)


def test_there_is_no_class_to_draw_and_no_probability_to_ask_for(ken, world, model, tmp_path):
    image = world / "new" / "dora" / "0.png"
    assert "ken identify" in ken("explain", image, "-m", model, cwd=tmp_path).refused(2)
    assert "--conf" in ken("predict", image, "-m", model, "--conf", "0.5").refused(2)
