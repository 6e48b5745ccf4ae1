"""Bad input: one clear line on stderr, an exit code that tells the kind, nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

COMMANDS = ("check", "train")


def listing(folder: Path, *lines: str) -> Path:
    """A table beside the images of `folder`."""
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_does_not_exist_is_named_with_its_neighbour(ken, small, command):
    words = ken(command, small.parent / "smal").refused(3)
    assert "did you mean 'small'?" in words


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_folder(ken, tmp_path, command):
    (tmp_path / "photos").mkdir()
    words = ken(command, tmp_path / "photos", cwd=tmp_path).refused(3)
    assert str(tmp_path / "photos") in words


def test_a_folder_without_any_image(ken, tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "notes.txt").write_text("no image")
    assert str(tmp_path / "photos") in ken("train", tmp_path / "photos", cwd=tmp_path).refused(3)


def test_one_class_cannot_be_told_from_anything(ken, drawn, tmp_path):
    folder = drawn(tmp_path / "photos", circle=3)
    words = ken("train", folder, cwd=tmp_path).refused(3)
    assert "one class (circle)" in words


def test_no_image_that_can_be_read(ken, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ken("train", tmp_path / "photos", cwd=tmp_path).refused(3)
    assert "No image" in words


def test_a_refused_run_leaves_no_run_behind(ken, tmp_path):
    (tmp_path / "photos").mkdir()
    ken("train", tmp_path / "photos", cwd=tmp_path).refused(3)
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert left == []


def test_a_class_with_one_image_is_trained_on_and_said(ken, drawn, tmp_path):
    folder = drawn(tmp_path / "photos", circle=6, square=6, cross=1)
    out = ken("train", folder, "--project", tmp_path / "runs").went_well()
    assert "cross" in out
    (answer,) = json.loads(
        ken(
            "predict",
            folder / "cross" / "cross0.png",
            "--model",
            tmp_path / "runs" / "exp" / "weights" / "best.ken",
            "--json",
        ).went_well()
    )
    assert set(answer["probabilities"]) == {"circle", "cross", "square"}


def test_one_image_a_class_gives_prototypes_that_know_them(ken, drawn, tmp_path):
    folder = drawn(tmp_path / "photos", circle=1, square=1, cross=1)
    ken("train", folder, "--project", tmp_path / "runs", "-q").went_well()
    model = tmp_path / "runs" / "exp" / "weights" / "best.ken"
    found = json.loads(ken("predict", folder, "--model", model, "--json").went_well())
    assert [answer["label"] for answer in found] == ["circle", "cross", "square"]


def test_one_image_a_class_is_too_few_for_a_loop(ken, drawn, tmp_path):
    folder = drawn(tmp_path / "photos", circle=1, square=1)
    words = ken("train", folder, "--model", "seed-cnn", cwd=tmp_path).refused(3)
    assert "test" in words


def test_blank_labels_in_a_table_are_left_out_and_said(ken, small, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    rows = [f"circle/circle{i}.png,{'' if i < 2 else 'circle'}" for i in range(12)]
    rows += [f"square/square{i}.png,square" for i in range(12)]
    listing(folder, "filename,label", *rows)
    out = ken("train", folder, "--model", "seed-cnn", "--dry-run").went_well()
    assert "22 images of 2 classes (circle 10, square 12)" in out
    assert "label" in out.split("planning:")[0]


def test_two_rows_of_one_file_with_different_labels(ken, small, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    listing(
        folder,
        "filename,label",
        "circle/circle0.png,circle",
        "circle/circle0.png,square",
        "square/square0.png,square",
    )
    said = ken("train", folder, "--dry-run")
    assert "circle/circle0.png" in said.out + said.err
    assert "Traceback" not in said.err


def test_a_table_that_names_a_file_outside_its_folder(ken, small, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    listing(folder, "filename,label", "../secret.png,circle", "square/square0.png,square")
    assert "../secret.png" in ken("train", folder, "--dry-run").refused(3)


def test_columns_that_the_table_does_not_have(ken, small, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    table = listing(folder, "filename,label", "circle/circle0.png,circle")
    said = ken("train", table, "--columns", "label=lable", "--dry-run")
    assert said.code in (2, 3)
    assert "did you mean 'label'?" in said.refused(said.code)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian", "x"), "There is no command 'trian', did you mean 'train'?"),
        (("train", "x", "--epoch", "3"), "There is no option '--epoch', did you mean '--epochs'?"),
        (("train", "x", "--model", "seed-cn"), "did you mean 'seed-cnn'?"),
        (("train", "x", "--set", "training.epoch=3"), "did you mean 'training.epochs'?"),
        (("train", "x", "--opt", "adm"), "'training.optimiser' should be"),
        (("train", "x", "--epochs", "many"), "'--epochs'"),
        (("train", "x", "--epochs", "0"), "'training.epochs' should be 1 or more, found 0"),
        (("train", "x", "-b", "0"), "--batch-size should be a whole number above 0"),
        (("train", "x", "--budget", "soon"), "'soon' is no length of time"),
        (("train", "x", "--freeze", "maybe"), "--freeze should be yes or no"),
        (("train", "x", "--name", "../up"), "--name should be a plain name"),
        (("train", "x", "--columns", "label"), "--columns should be written NAME=COLUMN"),
        (("train", "x", "--set", "epochs"), "--set should be written a.b=value"),
        (("train",), "Say which images to train on"),
        (("predict",), "Say which images"),
        (("predict", "x", "--topk", "0"), "--topk"),
        (("predict", "x", "--conf", "2"), "--conf"),
        (("val", "x"), "--model"),
        (("check",), "'images'"),
        (("list", "model"), "did you mean 'models'?"),
        (("cache", "--limit", "much"), "--limit should be a size"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line(ken, arguments, words):
    assert words in ken(*arguments).refused(2)


@pytest.mark.parametrize(
    "setting",
    [
        "training.seed=-1",
        "training.threads=-1",
        "training.threads=0",
        "training.learning_rate=0",
        "training.l1=-1",
        "training.l2=-1",
        "training.weight_decay=-1",
        "training.clip=0",
        "training.patience=-1",
        "training.budget_seconds=-1",
        "head=nope",
    ],
)
def test_a_number_that_cannot_be_is_named_before_any_image_is_read(ken, small, setting):
    words = ken("train", small, "--model", "seed-cnn", "--set", setting, "--dry-run").refused(2)
    assert setting.split("=")[0] in words


@pytest.mark.parametrize(
    "setting",
    [
        "data.test_share=0.95",
        "data.folds=1",
        "training.learning_rate=-1",
        "training.learning_rate=.nan",
        "training.smoothing=1",
        "training.averaging=1",
        "dropout=1",
        "unknown_share=-0.1",
    ],
)
def test_a_share_or_rate_out_of_range_is_named(ken, setting):
    words = ken("train", "x", "--set", setting, "--dry-run").refused(2)
    assert setting.split("=")[0] in words


def test_a_device_that_is_not_here(ken, small, tmp_path):
    arguments = ("--model", "seed-cnn", "--device", "tpu", "--project", tmp_path)
    assert "no device 'tpu' here" in ken("train", small, *arguments).refused(2)


def test_images_too_small_for_the_network(ken, small):
    words = ken("train", small, "--model", "seed-cnn", "--imgsz", "10", "--dry-run").refused(2)
    assert "18 pixels" in words


def test_several_faults_of_a_recipe_are_reported_together(ken, small, tmp_path):
    recipe = tmp_path / "args.yaml"
    recipe.write_text("modle: seed-cnn\ntraining:\n  epochs: many\n  learnig_rate: 0.1\n")
    words = ken("train", small, "--recipe", recipe).refused(2)
    assert "3 faults" in words
    for name in ("'modle'", "'training.epochs'", "did you mean 'training.learning_rate'?"):
        assert name in words


@pytest.mark.parametrize(
    "content",
    [
        "- a\n- list\n",
        "training: 3\n",
        "a: b: c\n",
        "!!python/object:os.system {}\n",
    ],
)
def test_a_recipe_that_is_none(ken, small, tmp_path, content):
    recipe = tmp_path / "args.yaml"
    recipe.write_text(content)
    assert str(recipe) in ken("train", small, "--recipe", recipe).refused(2)


def test_weights_that_would_have_to_be_unpickled_are_not_read(ken, small, tmp_path):
    weights = tmp_path / "net.pth"
    weights.write_bytes(b"PK\x03\x04 what torch.save writes")
    arguments = ("train", small, "--weights", weights, "--project", tmp_path / "runs")
    assert "Pickled weights (.pt, .pth) are not read" in ken(*arguments).refused(2)
    assert not [p for p in tmp_path.rglob("*") if p.suffix == ".ken"]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 8])
def test_a_weights_file_of_nothing(ken, small, tmp_path, content):
    weights = tmp_path / "net.safetensors"
    weights.write_bytes(content)
    arguments = ("train", small, "--weights", weights, "--project", tmp_path / "runs")
    assert "not a safetensors file" in ken(*arguments).refused(2)


def test_a_weights_file_that_does_not_exist(ken, small, tmp_path):
    arguments = ("train", small, "--weights", "none.safetensors", "--project", tmp_path)
    assert "no weights file" in ken(*arguments).refused(2)


def test_an_unreadable_image_does_not_keep_the_others_from_an_answer(ken, photos, model):
    names = [
        photos / "cross" / "cross0.png",
        photos / "cross" / "broken.png",
        photos / "circle" / "circle3.png",
    ]
    said = ken("predict", *names, "--model", model, "--quiet")
    assert "1 of 3 files could not be read" in said.refused(3)
    lines = said.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(name) for name in names]
    assert "not read" in lines[1]
    assert "not read" not in lines[0] + lines[2]


def test_an_unreadable_image_in_json_has_its_error_and_no_label(ken, photos, model):
    said = ken("predict", photos / "cross" / "pointer.jpg", "-m", model, "--json")
    (answer,) = json.loads(said.out)
    assert said.code == 3
    assert (answer["label"], answer["probabilities"]) == (None, {})
    assert "git lfs pull" in answer["error"]


@pytest.mark.parametrize("name", ["none.jpg", "none/*.jpg"])
def test_predict_of_what_is_not_there(ken, model, name):
    assert name in ken("predict", name, "--model", model).refused(3)


def test_explain_of_an_unreadable_image_writes_no_picture(ken, photos, model, tmp_path):
    picture = tmp_path / "why.png"
    ken("explain", photos / "cross" / "broken.png", "-m", model, "-o", picture).refused(3)
    assert not picture.exists()


def test_explain_of_a_class_that_the_model_does_not_know(ken, photos, model):
    image = photos / "cross" / "cross0.png"
    words = ken("explain", image, "-m", model, "--label", "circel").refused(2)
    assert "did you mean 'circle'?" in words


def test_val_with_a_class_that_the_model_does_not_know(ken, drawn, model, tmp_path):
    folder = drawn(tmp_path / "photos", circle=2, squares=2)
    words = ken("val", folder, "--model", model).refused(3)
    assert "'squares'" in words
    assert "did you mean 'square'?" in words


def test_val_of_a_part_that_is_not_there(ken, small, small_model):
    assert "'test'" in ken("val", small, "-m", small_model, "--part", "test").refused(3)


def test_a_split_of_other_images(ken, small, tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("filename,label,split\ncat/none.png,cat,test\n")
    words = ken("train", small, "--split", split, "--project", tmp_path / "runs").refused(3)
    assert "cat/none.png" in words
