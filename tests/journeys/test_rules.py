"""What a person knows, from an empty file to an answer that keeps it."""

from __future__ import annotations

import json
import re

from kenspeckle.knowledge.forms import FORMS
from kenspeckle.knowledge.rules import Rules


def test_a_file_is_begun_checked_and_kept(ken, photos, model, tmp_path):
    written = ken("rules", "init", photos, "--quiet", cwd=tmp_path).went_well()
    assert written == "written rules.yaml\n"
    rules = tmp_path / "rules.yaml"
    with rules.open("a") as file:
        file.write("columns: {place: [wall, floor]}\nrules:\n  - if wall then not circle\n")
    told = ken("rules", "check", rules, photos, "--quiet").went_well()
    assert told == "3 classes, 1 rules, 45 images. They can hold together.\n"
    image = photos / "circle" / "circle3.png"
    asked = ("predict", image, "--model", model, "--rules", rules, "--quiet")
    assert "circle" in ken(*asked).went_well()
    said = ken(*asked, "--side", "place=wall").went_well()
    assert "says if wall then not circle" in said or "the rules permit" in said
    (answer,) = json.loads(ken(*asked, "--side", "place=wall", "--json").went_well())
    assert answer["label"] != "circle"
    assert answer["rules"]["rules"][0]["words"] == "if wall then not circle"


def test_a_begun_file_is_not_written_over(ken, photos, tmp_path):
    (tmp_path / "rules.yaml").write_text("classes: [a]\n")
    said = ken("rules", "init", photos, "--quiet", cwd=tmp_path).refused(2)
    assert said == "rules.yaml exists; say another name with --output."


def test_faults_are_told_with_their_lines(ken, photos, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("classes: [circle, cross, squares]\nrules:\n  - never circel\n")
    said = ken("rules", "check", rules).refused(3)
    assert said.startswith("rules.yaml:3:11: E101 There is no class, attribute, tag or column")
    assert "did you mean 'circle'?" in said
    rules.write_text("classes: [circle, cross, squares]\n")
    checked = ken("rules", "check", rules, photos, "--quiet")
    assert checked.code == 3
    assert "'square' has images and is not in the rules, did you mean 'squares'?" in checked.out
    assert "'squares' has no images, did you mean 'square'?" in checked.out


def test_side_data_need_rules(ken, photos, model):
    said = ken("predict", photos / "circle", "--model", model, "--side", "place=wall", "--quiet")
    assert "say --rules too" in said.refused(2)


def test_an_explanation_tells_the_rule_its_line_and_its_price(ken, photos, model, tmp_path):
    rules = tmp_path / "rules.yaml"
    text = "classes: [circle, cross, square]\ncolumns: {place: [wall, floor]}\n"
    text += "rules: [if wall then not circle]\n"
    rules.write_text(text)
    image = photos / "circle" / "circle3.png"
    told = ("--model", model, "--rules", rules, "--side", "place=wall")
    lines = ken("explain", image, *told).went_well().splitlines()
    starts = [line.split()[0] for line in lines]
    assert [s for s in starts if s in ("alone", "rule", "price", "by")] == [
        "alone",
        "rule",
        "price",
        "by",
    ]
    assert "rule    L3 if wall then not circle (rules.yaml:3)" in lines


def test_a_run_obeys_rules_and_learns_from_images_that_show_only_a_parent(ken, drawn, tmp_path):
    shapes = drawn(tmp_path / "shapes", circle=10, square=10, cross=10)
    drawn(tmp_path / "more", seed=1, circle=6, square=6)
    (shapes / "closed").mkdir()
    for file in sorted((tmp_path / "more").glob("*/*.png")):
        file.rename(shapes / "closed" / file.name)
    (shapes / "!cross").mkdir()
    drawn(tmp_path / "others", seed=2, square=2)
    for file in sorted((tmp_path / "others").glob("*/*.png")):
        file.rename(shapes / "!cross" / file.name)
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "ken-rules: 1\nclasses: {closed: [circle, square], open: [cross]}\n"
        "columns: {place: [wall, floor]}\n"
        "rules:\n  - if wall then not circle\nmirror: {direction matters: [cross]}\n"
    )
    run = tmp_path / "runs" / "exp"
    told = ken("train", shapes, "--rules", rules, "--project", tmp_path / "runs").went_well()
    assert "done: On images like these" in told
    report = json.loads((run / "report.json").read_text())
    assert [row["class"] for row in report["classes"]] == ["circle", "cross", "square"]
    assert report["measured"]["n"] == 30
    assert report["split"]["train"] > 40  # 14 of which show a kind only
    assert report["model"]["rules"] == "rules.yaml"
    rules.unlink()  # the model file carries them
    image = shapes / "circle" / "circle3.png"
    asked = ("predict", image, "--model", run / "weights" / "best.ken", "--quiet")
    (answer,) = json.loads(ken(*asked, "--json").went_well())
    assert set(answer["probabilities"]) == {"circle", "cross", "square"}
    assert answer["rules"]["own"] == {}
    (answer,) = json.loads(ken(*asked, "--side", "place=wall", "--json").went_well())
    assert answer["probabilities"]["circle"] < 1e-6
    assert answer["rules"]["rules"][0]["words"] == "if wall then not circle"
    assert "no column 'season'" in ken(*asked, "--side", "season=winter").refused(2)
    sure = json.loads(ken(*asked, "--conf", "0.999", "--json").went_well())[0]
    assert sure["label"] in (None, "circle", "closed")
    told = json.loads(ken(*asked, "--side", "class=open", "--json").went_well())[0]
    assert next(iter(told["probabilities"])) == "cross"
    seen = json.loads(
        ken("val", shapes, "--model", run / "weights" / "best.ken", "--json", "--quiet").went_well()
    )
    assert seen["measured"]["n"] == 30
    obeyed = json.loads((run / "report.json").read_text())["obeyed"]
    assert obeyed["algorithms"] == seen["obeyed"]["algorithms"]
    assert all(how.endswith("(exact)") for how in obeyed["algorithms"])
    assert obeyed["changed"] <= obeyed["answers"] == 30
    assert "How answers are reckoned" in (run / "report.html").read_text()


def test_a_run_never_starts_on_rules_that_are_wrong(ken, small, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("classes: [circle, square]\nrules:\n  - never circel\n")
    started = ("train", small, "--rules", rules, "--project", tmp_path / "runs")
    assert "rules.yaml:3:11: E101" in ken(*started).refused(3)
    rules.write_text("classes: [circle, square, cross]\n")
    assert "E103 'cross' has no images" in ken(*started).refused(3)
    rules.write_text("classes: [circle, square]\ntags: [t]\nrules:\n  - never circle\n  - t\n")
    assert ken(*started).code == 3
    rules.write_text("classes: [circle, square]\n")
    assert "Under rules the loss is" in ken(*started, "--loss", "focal").refused(2)
    assert "name one with --model" in ken(*started, "--model", "auto").refused(2)
    assert "cannot be trained under rules" in ken(*started, "--task", "watch").refused(2)
    assert not (tmp_path / "runs" / "exp").exists()


def test_images_that_nobody_labelled_are_labelled_by_rules_and_never_measured_by(
    ken, drawn, tmp_path
):
    shapes = drawn(tmp_path / "shapes", circle=10, square=10)
    drawn(tmp_path / "shapes" / "new", seed=3, circle=4, square=4)
    rows = ["file,label,kind"]
    for file in sorted(shapes.rglob("*.png")):
        path = file.relative_to(shapes).as_posix()
        is_new = path.startswith("new/")
        kind = "round" if "circle" in path else "edged"
        rows.append(f"{path},{'' if is_new else file.parent.name},{kind}")
    (shapes / "labels.csv").write_text("\n".join(rows) + "\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "classes: [circle, square]\nweak:\n"
        "  - {if file name contains: circle, then: circle, trust: 0.9}\n"
        "  - {if column: kind, equals: edged, then: not circle, trust: 0.8}\n"
    )
    said = ken("train", shapes, "--rules", rules, "--project", tmp_path / "runs").went_well()
    assert "8 images are labelled by weak rules alone" in said
    with rules.open("a") as file:
        file.write("priors: [{column: knid, value: edged, square: x3}]\n")
    checked = ken("rules", "check", rules, shapes, "--quiet")
    assert checked.code == 3
    assert "E501 The table of the images has no column 'knid', did you mean 'kind'?" in checked.out
    report = json.loads((tmp_path / "runs" / "exp" / "report.json").read_text())
    assert report["measured"]["n"] == 20
    assert report["data"]["used"] == 28


def test_each_example_of_a_begun_file_can_be_used(ken, photos, tmp_path):
    ken("rules", "init", photos, "--quiet", cwd=tmp_path).went_well()
    begun = (tmp_path / "rules.yaml").read_text()
    plain = "".join(line for line in begun.splitlines(True) if not line.startswith("#"))
    tags = "tags: [daylight, night, snow, street, field, headlights on, scratch, dent, hole]\n"
    tags += "columns: {season: [summer, winter]}\nattributes: {has wings: {never: [cross]}, "
    tags += "legs: {one of: [0, 4], values: {circle: 4, cross: 0}}}\n"
    tried, names = [], "|".join(FORMS)
    for block in begun.split("\n\n"):
        lines = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("#")]
        starts = [i for i, line in enumerate(lines) if re.match(rf"({names}):", line)]
        if not starts or lines[starts[0]].startswith("classes"):
            continue
        example = "\n".join(lines[starts[0] :]) + "\n"
        section = example.split(":")[0]
        others = "".join(x for x in tags.splitlines(True) if not x.startswith(section))
        Rules.drafted(plain + others + example)
        tried.append(section)
    assert sorted(tried) == sorted(set(FORMS) - {"classes"})


def test_what_would_end_badly_is_told_before_any_training(ken, drawn, tmp_path):
    shapes = drawn(tmp_path / "shapes", circle=6, square=6)
    rules = tmp_path / "rules.yaml"
    started = ("train", shapes, "--rules", rules, "--project", tmp_path / "runs")
    rules.write_text("tags: [night]\n")
    assert "rules.yaml has no `classes`" in ken(*started).refused(2)
    rules.write_text(
        "classes: [circle, cross]\nattributes: {is round: {always: [circle], never: [cross]}}\n"
        "unseen: {square: {is round: no}}\n"
    )
    assert "'square' is under `unseen` and has images to learn from" in ken(*started).err
    rules.write_text("classes: {shape: [a, b], other: [c, d]}\n")
    for old, new in (("circle", "shape"), ("square", "other")):
        (shapes / old).rename(shapes / new)
    assert "Nothing could be measured by what is there" in ken(*started).refused(3)
    files = sorted(file.relative_to(shapes).as_posix() for file in shapes.rglob("*.png"))
    rows = [f"{file},{'a' if i % 2 else 'c'},summer" for i, file in enumerate(files)]
    table = shapes / "labels.csv"
    table.write_text("\n".join(["file,label,season", *rows[:-1], rows[-1] + "y"]) + "\n")
    rules.write_text("classes: [a, c]\ncolumns: {season: [summer, winter]}\n")
    assert "E501 The table of the images has the value 'summery'" in ken(*started).refused(3)


def test_images_that_their_owner_put_into_the_test_are_not_learned_from(ken, drawn, tmp_path):
    parts = tmp_path / "parts"
    drawn(parts / "train", circle=8, square=8)
    drawn(parts / "test", seed=1, circle=4, square=4)
    drawn(tmp_path / "more", seed=2, circle=3)
    for part, number in (("train", 0), ("train", 1), ("test", 2)):
        (parts / part / "shape").mkdir(exist_ok=True)
        file = tmp_path / "more" / "circle" / f"circle{number}.png"
        file.rename(parts / part / "shape" / file.name)
    rules = tmp_path / "rules.yaml"
    rules.write_text("classes: {shape: [circle, square]}\n")
    ken("train", parts, "--rules", rules, "--project", tmp_path / "runs").went_well()
    report = json.loads((tmp_path / "runs" / "exp" / "report.json").read_text())
    split = report["split"]
    assert (split["train"], split["test"], split["left_out"]) == (18, 8, 1)
