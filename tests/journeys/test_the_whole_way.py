"""From a folder of images to answers, pictures and a report, a command at a time."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

FILES = {
    "args.yaml",
    "weights/best.ken",
    "results.csv",
    "report.html",
    "report.json",
    "predictions.csv",
    "split.csv",
    "data_issues.csv",
    "confusion_matrix.png",
    "environment.json",
}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_check_names_the_three_faults(ken, photos):
    said = ken("check", photos)
    assert (said.code, said.err) == (1, "")
    for name in ("cross/broken.png", "cross/pointer.jpg", "circle/circle0.png", "square/copy.png"):
        assert name in said.out


def test_check_as_json_is_one_document(ken, photos):
    said = ken("check", photos, "--json")
    found = json.loads(said.out)
    assert (said.code, said.err) == (1, "")
    assert (found["images"], found["usable"]) == (45, 41)
    assert found["classes"] == {"circle": 14, "cross": 16, "square": 15}
    assert {path for finding in found["findings"] for path in finding["paths"]} >= {
        "cross/broken.png",
        "cross/pointer.jpg",
    }


def test_check_of_sound_images_finds_nothing_grave(ken, small):
    said = ken("check", small, "--json")
    assert said.code == 0
    assert all(finding["severity"] != "error" for finding in json.loads(said.out)["findings"])


def test_check_writes_its_findings_as_a_table(ken, photos, tmp_path):
    ken("check", photos, "--output", tmp_path / "issues.csv", "--quiet")
    assert any("broken.png" in str(row) for row in table(tmp_path / "issues.csv"))


def test_a_run_leaves_every_promised_file(trained):
    made = {str(p.relative_to(trained)) for p in trained.rglob("*") if p.is_file()}
    assert made >= FILES
    assert not [name for name in made if Path(name).name.startswith(".")]


def test_the_recipe_of_a_run_is_resolved(trained):
    recipe = yaml.safe_load((trained / "args.yaml").read_text("utf-8"))
    assert recipe["freeze"] is True
    assert recipe["data"]["image_size"] == 224
    assert recipe["training"]["precision"] in ("float32", "bfloat16")


def test_every_usable_image_was_answered_by_a_model_that_had_not_seen_it(trained):
    rows = table(trained / "predictions.csv")
    assert len(rows) == len({row["filename"] for row in rows}) == 41
    assert {row["true_label"] for row in rows} == {"circle", "cross", "square"}


def test_shapes_are_told_apart(trained):
    report = json.loads((trained / "report.json").read_text("utf-8"))
    assert report["scores"]["accuracy_score"]["low"] > report["majority_share"]


def test_the_split_names_every_image_and_gives_the_faulty_ones_no_part(trained):
    part = {row["filename"]: row["split"] for row in table(trained / "split.csv")}
    assert len(part) == 45
    assert {name for name, where in part.items() if not where} == {
        "cross/broken.png",
        "cross/pointer.jpg",
        "circle/circle0.png",
        "square/copy.png",
    }


def test_the_confusion_matrix_is_a_picture(trained):
    with Image.open(trained / "confusion_matrix.png") as picture:
        assert min(picture.size) > 100


def test_val_scores_every_class_with_an_interval(ken, photos, model):
    report = json.loads(ken("val", photos, "--model", model, "--json").went_well())
    assert report["measured"]["n"] == 41
    accuracy = report["scores"]["accuracy_score"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert [row["class"] for row in report["classes"]] == ["circle", "cross", "square"]


def test_val_prints_a_table_and_writes_the_answers(ken, photos, model, tmp_path):
    answers = tmp_path / "answers.csv"
    out = ken("val", photos, "--model", model, "--output", answers, "--quiet").went_well()
    assert "accuracy score" in out
    assert len(table(answers)) == 41


def test_predict_a_file_says_one_line(ken, photos, model):
    image = photos / "cross" / "cross3.png"
    out = ken("predict", image, "--model", model, "--quiet").went_well()
    assert out.count("\n") == 1
    assert out.startswith(f"{image}: ")
    assert "cross" in out.split(": ", 1)[1]


def test_predict_a_folder_in_natural_order(ken, photos, model):
    found = json.loads(ken("predict", photos / "square", "-m", model, "--json").went_well())
    names = [Path(answer["path"]).name for answer in found]
    assert names == ["copy.png", *(f"square{i}.png" for i in range(14))]


def test_a_file_is_answered_alone_as_in_its_folder(ken, small, small_model):
    together = json.loads(ken("predict", small / "square", "-m", small_model, "--json").went_well())
    for answer in together[::5]:
        alone = ken("predict", answer["path"], "-m", small_model, "--json").went_well()
        assert json.loads(alone)[0]["probabilities"] == pytest.approx(
            answer["probabilities"], abs=1e-4
        )


def test_predict_a_pattern_that_the_shell_left_alone(ken, photos, model):
    pattern = photos / "*" / "*1.png"
    found = json.loads(ken("predict", pattern, "-m", model, "--json").went_well())
    assert len(found) == 6  # 1 and 11 of each class


def test_predict_a_list_on_stdin(ken, photos, model):
    wanted = [str(photos / "circle" / f"circle{i}.png") for i in (5, 2)]
    said = ken("predict", "-", "-m", model, "--json", stdin="\n".join(wanted) + "\n")
    assert [answer["path"] for answer in json.loads(said.went_well())] == wanted


def test_predict_gives_probabilities_that_sum_to_one(ken, photos, model):
    image = photos / "circle" / "circle4.png"
    (answer,) = json.loads(ken("predict", image, "-m", model, "--json").went_well())
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert set(answer["nearest"]) <= {str(p.relative_to(photos)) for p in photos.rglob("*.png")}


def test_topk_names_the_runners_up(ken, photos, model):
    image = photos / "circle" / "circle4.png"
    out = ken("predict", image, "-m", model, "--topk", "3", "-q").went_well()
    assert all(name in out for name in ("circle", "cross", "square"))


def test_below_the_wanted_confidence_no_class_is_claimed(ken, photos, small_model):
    image = photos / "circle" / "circle4.png"
    said = json.loads(ken("predict", image, "-m", small_model, "--conf", "0.99", "--json").out)
    assert said[0]["label"] is None
    assert said[0]["words"].startswith(("not sure", "unknown"))


def test_predict_writes_a_table_with_the_path_as_given(ken, photos, model, tmp_path):
    image = photos / "cross" / "cross2.png"
    ken("predict", image, "-m", model, "-o", tmp_path / "answers.csv", "-q").went_well()
    (row,) = table(tmp_path / "answers.csv")
    assert row["filename"] == str(image)
    assert float(row["prob"]) == max(float(row[name]) for name in ("circle", "cross", "square"))


def test_the_packaged_network_answers_without_any_training(ken, photos):
    image = photos / "cross" / "cross2.png"
    out = ken("predict", image, "-q").went_well()
    assert out.startswith(f"{image}: ")


def test_explain_draws_the_image_beside_its_heat(ken, photos, model, tmp_path):
    image, picture = photos / "square" / "square0.png", tmp_path / "why.png"
    told = json.loads(ken("explain", image, "-m", model, "-o", picture, "--json").went_well())
    assert told["picture"] == str(picture)
    with Image.open(picture) as drawn:
        assert drawn.width == 2 * drawn.height


def test_explain_another_class_gives_another_picture(ken, photos, model, tmp_path):
    image = photos / "square" / "square0.png"
    for label in ("square", "cross"):
        ken("explain", image, "-m", model, "--label", label, "-o", tmp_path / f"{label}.png")
    assert (tmp_path / "square.png").read_bytes() != (tmp_path / "cross.png").read_bytes()


def test_explain_writes_beside_the_user_unless_told(ken, photos, model, tmp_path):
    ken("explain", photos / "square" / "square0.png", "-m", model, cwd=tmp_path).went_well()
    assert [p.name for p in tmp_path.iterdir()] == ["square0-explained.png"]


def test_the_report_can_be_written_again_from_the_model_file_alone(ken, model, tmp_path):
    out = ken("report", model, "--output", tmp_path / "again").went_well()
    assert "On images like these" in out
    assert (tmp_path / "again" / "report.html").stat().st_size > 1000


def test_the_report_as_json_is_that_of_the_run(ken, trained):
    again = json.loads(ken("report", trained, "--json").went_well())
    assert again == json.loads((trained / "report.json").read_text("utf-8"))


def test_a_report_of_a_run_leaves_the_run_complete(ken, small_run):
    before = {p.name for p in small_run.iterdir()}
    ken("report", small_run).went_well()
    assert {p.name for p in small_run.iterdir()} == before


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("models", "seed-cnn"),
        ("tasks", "classify"),
        ("checks", "unreadable"),
        ("explanations", "grad-cam"),
        ("heads", "layers-lda"),
    ],
)
def test_list_knows_every_table(ken, what, name):
    assert name in json.loads(ken("list", what, "--json").went_well())[what]
    assert name in ken("list", what).went_well()


def test_list_alone_gives_them_all(ken):
    tables = json.loads(ken("list", "--json").went_well())
    own = {"models", "sequence models", "tasks", "checks", "explanations", "rule forms"}
    assert set(tables) == own | {"augmentations", "heads"}


def test_cache_says_what_it_holds(ken, trained, cache):
    told = json.loads(ken("cache", "--json").went_well())
    assert told["folder"] == str(cache)
    assert any(pool["records"] >= 41 for pool in told["pools"])
    assert "entries" in ken("cache").went_well()


def test_help_names_every_command(ken):
    out = ken("--help").went_well()
    for name in ("check", "train", "val", "predict", "explain", "report", "list", "cache", "demo"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize(
    "name", ["check", "train", "val", "predict", "explain", "report", "list", "cache", "demo"]
)
def test_every_command_explains_itself_with_an_example(ken, name):
    out = ken(name, "--help").went_well()
    assert "Example" in out
    assert f"ken {name}" in out


def test_version_is_one_line(ken):
    assert ken("--version").went_well().split()[0] == "kenspeckle"
