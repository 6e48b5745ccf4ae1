"""Names of any script, and names that look like options, patterns, lines or loops."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

TINY = ("--model", "seed-cnn", "--epochs", "1", "--set", "training.precision=float32")
NAMES = [
    "my photos",
    "照片",
    "صور",
    "🌹 roses",
    "a[b]",
    "100%",
    "it's",
    "-dash",
    "two\nlines",
    "[red]x",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_any_name_is_trained_on_and_answered(ken, small, tmp_path, name):
    folder = tmp_path / "photos"
    shutil.copytree(small / "circle", folder / name)
    shutil.copytree(small / "square", folder / "other")
    ken("train", folder, *TINY, "--project", tmp_path / "runs").went_well()
    run = tmp_path / "runs" / "exp"
    rows = list(csv.DictReader(io.StringIO((run / "split.csv").read_text("utf-8"))))
    assert {row["label"] for row in rows} == {name, "other"}
    model = run / "weights" / "best.ken"
    found = json.loads(ken("predict", folder / name, "-m", model, "--json").went_well())
    assert set(found[0]["probabilities"]) == {name, "other"}
    assert ken("predict", folder / name, "-m", model, "--topk", "2").code == 0


@pytest.mark.parametrize("name", ["my photos", "صور 照片 🌹", "a[b]", "-dash", "two\nlines"])
def test_a_folder_of_any_name_holds_images_runs_and_models(ken, small, tmp_path, name):
    folder = tmp_path / name / "photos"
    shutil.copytree(small, folder)
    ken("train", folder, *TINY, "--project", tmp_path / name / "runs").went_well()
    model = tmp_path / name / "runs" / "exp" / "weights" / "best.ken"
    image = folder / "circle" / "circle0.png"
    ken("predict", image, "-m", model, "-o", tmp_path / name / "answers.csv").went_well()
    ken("explain", image, "-m", model, "-o", tmp_path / name / "why.png").went_well()
    assert (tmp_path / name / "why.png").is_file()


@pytest.mark.parametrize("name", ["a[b]", "[red]x"])
def test_the_paths_that_train_prints_are_there(ken, small, tmp_path, name):
    out = ken("train", small, *TINY, "--project", tmp_path / name, "-q").went_well()
    model, report, _ = (line.split(maxsplit=1)[1] for line in out.strip().splitlines())
    assert Path(model).is_file()
    assert Path(report).is_file()


def test_a_name_that_begins_with_a_dash_comes_after_two(ken, small, small_model, tmp_path):
    shutil.copy(small / "circle" / "circle0.png", tmp_path / "-x.png")
    said = ken("predict", "-m", small_model, "-q", "--", "-x.png", cwd=tmp_path)
    assert said.went_well().startswith("-x.png: ")


def test_a_name_with_pattern_letters_is_a_file_before_it_is_a_pattern(
    ken, small, small_model, tmp_path
):
    shutil.copy(small / "circle" / "circle0.png", tmp_path / "a[1].png")
    said = ken("predict", tmp_path / "a[1].png", "-m", small_model, "--json")
    assert json.loads(said.went_well())[0]["path"] == str(tmp_path / "a[1].png")


def test_links_that_lead_in_circles_end(ken, small, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    (folder / "circle" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "square" / "itself.png").symlink_to(folder / "square" / "itself.png")
    said = ken("check", folder, "--json")
    found = json.loads(said.out)
    assert found["usable"] == 24
    assert any("itself.png" in path for f in found["findings"] for path in f["paths"])


def test_a_link_to_a_folder_elsewhere_is_followed(ken, small, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("circle", "square"):
        (tmp_path / "photos" / name).symlink_to(small / name, target_is_directory=True)
    found = json.loads(ken("check", tmp_path / "photos", "--json").out)
    assert found["usable"] == 24


@pytest.mark.skipif(os.name == "nt", reason="names are UTF-16 there")
def test_names_that_are_no_utf8_are_answered_for(ken, ken_process, small, small_model, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    odd = os.fsencode(folder / "circle") + b"/caf\xe9.png"
    try:
        shutil.copy(os.fsencode(small / "circle" / "circle0.png"), odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    ken("train", folder, *TINY, "--project", tmp_path / "runs", "-q").went_well()
    found = json.loads(ken("predict", folder / "circle", "-m", small_model, "--json").went_well())
    assert os.fsdecode(odd) in {answer["path"] for answer in found}
    said = ken_process("predict", os.fsdecode(odd), "-m", small_model)
    assert said.code == 0
    assert said.out.startswith(os.fsdecode(odd))


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_no_name_is_too_odd_for_a_terminal(ken_process, small, small_model, tmp_path, encoding):
    image = os.fsdecode(os.fsencode(tmp_path / "玫瑰") + b"\xe9.png")
    shutil.copy(small / "circle" / "circle0.png", image)
    said = ken_process("predict", image, "-m", small_model, PYTHONIOENCODING=encoding)
    assert "Traceback" not in said.err
    assert said.code == 0


def test_a_tables_paths_may_be_written_as_on_windows(ken, small, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(small, folder)
    rows = [f"{p.parent.name}\\{p.name},{p.parent.name}" for p in Path(folder).rglob("*.png")]
    (folder / "labels.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    found = json.loads(ken("check", folder, "--json").out)
    assert found["usable"] == 24
