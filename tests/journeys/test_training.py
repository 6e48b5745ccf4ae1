"""What `ken train` promises beside a model: repeatable parts, untouched images, clean streams."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml

TINY = ("--model", "seed-cnn", "--epochs", "1", "--set", "training.precision=float32")


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def part_of(run: Path, part: str) -> set[str]:
    return {row["filename"] for row in table(run / "split.csv") if row["split"] == part}


def footprint(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with its content and the time it was last written."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_loop_leaves_a_row_an_epoch(small_run):
    rows = table(small_run / "results.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert (small_run / "weights" / "best.ken").is_file()


def test_a_loop_measures_on_images_it_never_trained_on(small_run):
    answered = {row["filename"] for row in table(small_run / "predictions.csv")}
    assert answered == part_of(small_run, "test")
    assert not answered & (part_of(small_run, "train") | part_of(small_run, "val"))


def test_runs_are_numbered_and_never_overwritten(ken, small, tmp_path):
    for _ in range(2):
        ken("train", small, *TINY, "--project", tmp_path, "--quiet").went_well()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exp", "exp2"]
    first = footprint(tmp_path / "exp")
    ken("train", small, *TINY, "--project", tmp_path, "--name", "mine", "-q").went_well()
    assert footprint(tmp_path / "exp") == first
    assert (tmp_path / "mine" / "weights" / "best.ken").is_file()


def test_exist_ok_writes_into_the_run_of_that_name(ken, small, tmp_path):
    for _ in range(2):
        ken("train", small, *TINY, "--project", tmp_path, "--exist-ok", "-q").went_well()
    assert [p.name for p in tmp_path.iterdir()] == ["exp"]


def test_a_split_used_again_tests_on_the_same_images(ken, small, small_run, tmp_path):
    again = ("--split", small_run / "split.csv", "--seed", "7", "--project", tmp_path, "-q")
    ken("train", small, *TINY, *again).went_well()
    assert part_of(tmp_path / "exp", "test") == part_of(small_run, "test")
    assert part_of(tmp_path / "exp", "train") == part_of(small_run, "train")


def test_another_seed_splits_otherwise(ken, small, small_run, tmp_path):
    ken("train", small, *TINY, "--seed", "7", "--project", tmp_path, "-q").went_well()
    assert part_of(tmp_path / "exp", "test") != part_of(small_run, "test")


def test_a_saved_recipe_with_its_steps_gives_the_same_model(ken, small, tmp_path):
    common = ("--project", tmp_path, "-q")
    ken("train", small, *TINY, "--set", "training.steps=3", *common).went_well()
    ken("train", small, "--recipe", tmp_path / "exp" / "args.yaml", *common).went_well()
    first, second = (tmp_path / name / "weights" / "best.ken" for name in ("exp", "exp2"))
    assert first.read_bytes() == second.read_bytes()


def test_columns_of_a_table_are_named(ken, small, tmp_path):
    folder = tmp_path / "tracks"
    shutil.copytree(small, folder / "files")
    lines = ["where,sign_name,track"]
    for path in sorted((folder / "files").rglob("*.png")):
        number = int("".join(c for c in path.stem if c.isdigit())) // 2
        lines.append(f"files/{path.parent.name}/{path.name},{path.parent.name.upper()},{number}")
    (folder / "signs.csv").write_text("\n".join(lines) + "\n")
    columns = ("--columns", "path=where,label=sign_name,group=track")
    ken("train", folder / "signs.csv", *columns, *TINY, "--project", tmp_path, "-q").went_well()
    rows = table(tmp_path / "exp" / "split.csv")
    assert {row["label"] for row in rows} == {"CIRCLE", "SQUARE"}
    parts: dict[str, set[str]] = {}
    for row in rows:
        parts.setdefault(row["group"], set()).add(row["split"])
    assert all(len(where) == 1 for where in parts.values())


def test_a_dry_run_writes_nothing(ken, small, tmp_path):
    before = footprint(small)
    plan = json.loads(ken("train", small, *TINY, "--dry-run", "--json", cwd=tmp_path).went_well())
    assert plan["classes"] == {"circle": 12, "square": 12}
    assert plan["recipe"]["model"] == "seed-cnn"
    assert list(tmp_path.iterdir()) == []
    assert footprint(small) == before


def test_a_dry_run_says_what_would_be_done(ken, small):
    out = ken("train", small, *TINY, "--dry-run").went_well()
    assert "24 images of 2 classes (circle 12, square 12); training seed-cnn" in out


@pytest.mark.parametrize("command", ["check", "train", "val", "predict"])
def test_the_users_images_stay_as_they_are(ken, photos, model, tmp_path, command):
    before = footprint(photos)
    names = sorted(str(p) for p in photos.rglob("*"))
    more = {
        "check": (),
        "train": (*TINY, "--project", tmp_path),
        "val": ("--model", model),
        "predict": ("--model", model),
    }[command]
    ken(command, photos, *more, "--quiet", cwd=tmp_path)
    assert footprint(photos) == before
    assert sorted(str(p) for p in photos.rglob("*")) == names


def test_a_finished_run_resumed_is_the_same_run(ken, small_run, tmp_path):
    run = tmp_path / "exp"
    shutil.copytree(small_run, run)
    ken("train", "--resume", run, "-q").went_well()
    same = ("weights/best.ken", "split.csv", "predictions.csv", "report.json", "args.yaml")
    for name in same:
        assert (run / name).read_bytes() == (small_run / name).read_bytes(), name


def test_resume_with_other_choices_is_refused(ken, small_run):
    words = ken("train", "--resume", small_run, "--epochs", "9").refused(2)
    assert "repeats the run's own recipe" in words


def test_resume_of_what_is_no_run_is_refused(ken, tmp_path):
    assert "no run to resume" in ken("train", "--resume", tmp_path).refused(2)


def test_train_as_json_is_one_document_and_nothing_else(ken, small, tmp_path):
    report = json.loads(ken("train", small, *TINY, "--project", tmp_path, "--json").went_well())
    assert report["run"] == str(tmp_path / "exp")
    assert 0 <= report["scores"]["accuracy_score"]["value"] <= 1


def test_quiet_says_where_the_model_is_and_no_more(ken, small, tmp_path):
    out = ken("train", small, *TINY, "--project", tmp_path, "--quiet").went_well()
    words = [line.split()[0] for line in out.splitlines() if line]
    assert words == ["model", "report", "next"]


def test_settings_of_any_name_reach_the_recipe(ken, small, tmp_path):
    more = ("--set", "training.clip=1", "--set", "data.test_share=0.25", "--lr", "0.01", "-b", "8")
    ken("train", small, *TINY, *more, "--project", tmp_path, "-q").went_well()
    recipe = yaml.safe_load((tmp_path / "exp" / "args.yaml").read_text("utf-8"))
    assert recipe["training"]["clip"] == 1.0
    assert recipe["training"]["learning_rate"] == 0.01
    assert recipe["training"]["batch_size"] == 8
    assert len(part_of(tmp_path / "exp", "test")) == 6


def test_the_owners_own_parts_are_kept(ken, drawn, tmp_path):
    folder = tmp_path / "parted"
    drawn(folder / "train", side=28, circle=8, square=8)
    drawn(folder / "test", side=28, seed=1, circle=3, square=3)
    ken("train", folder, *TINY, "--project", tmp_path / "runs", "-q").went_well()
    tested = part_of(tmp_path / "runs" / "exp", "test")
    assert tested == {f"test/{c}/{c}{i}.png" for c in ("circle", "square") for i in range(3)}


def test_a_zip_gives_the_same_answers_as_the_folder_in_it(ken, small, small_run, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "small"), "zip", small)
    ken("train", archive, *TINY, "--project", tmp_path, "-q").went_well()
    assert part_of(tmp_path / "exp", "test") == part_of(small_run, "test")


def test_copies_never_straddle_the_split(ken, small, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(small, folder)
    for i in range(4):
        shutil.copy(folder / "circle" / f"circle{i}.png", folder / "circle" / f"again{i}.png")
    ken("train", folder, *TINY, "--project", tmp_path, "-q").went_well()
    where = {row["filename"]: row["split"] for row in table(tmp_path / "exp" / "split.csv")}
    for i in range(4):
        assert where[f"circle/circle{i}.png"] == where[f"circle/again{i}.png"]
