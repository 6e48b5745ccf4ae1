"""What every task promises: trained, saved, loaded, it answers alike; its report can be read."""

from __future__ import annotations

import csv
import json
import string
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import kenspeckle
from kenspeckle.answer import Answer
from kenspeckle.recipe import Recipe
from kenspeckle.tasks import TASKS
from kenspeckle.tasks.task import Task
from kenspeckle.trust.report import card, sentence, task_of
from kenspeckle.verbs.settle import start_of
from kenspeckle.words import Title


def classes_of_squares(folder: Path) -> Path:
    """Bright and dark squares, 12 each."""
    random = np.random.default_rng(0)
    for name, light in (("bright", 200), ("dark", 40)):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            pixels = random.normal(light, 20, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def tagged_squares(folder: Path) -> Path:
    """Squares that are bright, red, both or neither."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), [("file", "labels")]
    for i in range(24):
        tags = [name for bit, name in enumerate(("bright", "red")) if i >> bit & 1]
        pixels = random.normal(200 if "bright" in tags else 40, 10, (32, 32, 3))
        pixels[..., 0] += 50 * ("red" in tags)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        rows.append((f"{i}.png", ";".join(tags) or "-"))
    _write_table(folder / "labels.csv", rows)
    return folder


def pairs(folder: Path) -> Path:
    """Letters and the same in capitals."""
    folder.mkdir()
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcde"), 3)) for _ in range(40)]
    lines = (f"{w}\t{w.upper()}\n" for w in dict.fromkeys(words))
    (folder / "pairs.tsv").write_text("".join(lines))
    return folder / "pairs.tsv"


def lines(folder: Path) -> Path:
    """Serial numbers of two to four digits on strips 16 pixels high, in two widths."""
    folder.mkdir()
    random, font, rows = np.random.default_rng(0), ImageFont.load_default(12), [("file", "text")]
    for i in range(24):
        text = "".join(random.choice(list(string.digits), random.integers(2, 5)))
        strip = Image.new("L", (48 + 16 * (i % 2), 16), 255)
        ImageDraw.Draw(strip).text((2, 1), text, fill=0, font=font)
        strip.save(folder / f"{i}.png")
        rows.append((f"{i}.png", text))
    _write_table(folder / "labels.csv", rows)
    return folder


def boxes(folder: Path) -> Path:
    """One or two blocks, red or blue, on images of 48 x 32 pixels; one image holds none."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = [("file", "name", "left", "top", "right", "bottom")]
    for i in range(16):
        image = Image.new("RGB", (48, 32), "white")
        for name in ("red", "blue")[: 1 + i % 2]:
            left, top = random.integers(0, 32), random.integers(0, 16)
            ImageDraw.Draw(image).rectangle((left, top, left + 11, top + 11), fill=name)
            rows.append((f"{i}.png", name, left, top, left + 12, top + 12))
        image.save(folder / f"{i}.png")
    _write_table(folder / "boxes.csv", rows)
    return folder


def clips(folder: Path) -> Path:
    """Three frames that grow brighter, or darker."""
    for name, order in (("rising", (40, 120, 200)), ("falling", (200, 120, 40))):
        for i in range(8):
            (folder / name / str(i)).mkdir(parents=True)
            for k, light in enumerate(order):
                frame = Image.new("RGB", (32, 32), (light, light, light - i))
                frame.save(folder / name / str(i) / f"{k}.png")
    return folder


def plain_images(folder: Path) -> Path:
    """Coloured noise of two sizes, without labels."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(8):
        pixels = random.integers(0, 256, (60 + i, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((70, 60)).save(folder / f"{i}.png")
    return folder


def badges(folder: Path) -> Path:
    """Eight badges of sixteen coloured fields, five photographs of each, moved and dimmed."""
    random = np.random.default_rng(0)
    for k in range(8):
        (folder / f"badge {k}").mkdir(parents=True)
        fields = random.integers(0, 255, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
        for i in range(5):
            pixels = np.roll(fields, random.integers(-2, 3, 2), (0, 1)) * random.uniform(0.8, 1)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"badge {k}" / f"{i}.png")
    return folder


def _write_table(path: Path, rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


# A new task needs a world here: what it learns from, and what a quick run of it is given.
WORLDS = {
    "classify": (classes_of_squares, {"model": "cnn-tiny"}),
    "tag": (tagged_squares, {"model": "cnn-tiny"}),
    "translate": (pairs, {}),
    "read": (lines, {"model": "cnn-tiny"}),
    "detect": (boxes, {"model": "cnn-tiny", "data.image_size": 32}),
    "restore": (plain_images, {"training.steps": 3}),
    "compress": (plain_images, {"training.steps": 3}),
    "match": (badges, {}),
    "generate": (classes_of_squares, {"training.steps": 3}),
    "watch": (clips, {"model": "mean"}),
}


@pytest.fixture(scope="module", params=list(TASKS))
def run(request, tmp_path_factory):
    """Each task, trained for two epochs on a small world: its name, data, model and folder."""
    name = request.param
    make, settings = WORLDS[name]
    place = tmp_path_factory.mktemp(name)
    data, folder = make(place / "world"), place / "run"
    folder.mkdir()
    model = kenspeckle.train(
        data,
        start_of(name),
        settings={"training.epochs": 2, **settings},
        folder=folder,
    )
    return name, data, model, folder


def asked(model, data: Path):
    """A few things that the model can be asked."""
    if model.task.telling.verb != "predict":
        pytest.skip(f"this model is asked by `ken {model.task.telling.verb}`")
    if model.reads == "pairs":
        return ["abc", "cab"]
    if model.reads == "clips":
        return [str(data / "rising" / "0"), str(data / "falling" / "1")]
    return [str(path) for path in sorted(data.rglob("*.png"))[:3]]


def test_a_saved_model_answers_as_before(run, tmp_path):
    _, data, model, _ = run
    model.save(tmp_path / "model.ken")
    again = kenspeckle.load(tmp_path / "model.ken")
    assert again.predict(asked(model, data)) == model.predict(asked(model, data))


def test_one_answer_does_not_depend_on_the_others(run):
    _, data, model, _ = run
    together = model.predict(asked(model, data))
    alone = [model.predict(one)[0] for one in asked(model, data)]
    assert [a.label for a in alone] == [a.label for a in together]
    for one, other in zip(alone, together, strict=True):
        assert list(one.probabilities) == list(other.probabilities)
        assert list(one.probabilities.values()) == pytest.approx(
            list(other.probabilities.values()), abs=1e-4
        )


def test_answers_are_plain_values(run):
    _, data, model, _ = run
    for answer in model.predict(asked(model, data)):
        assert isinstance(answer, Answer)
        json.dumps(answer.as_dict(), allow_nan=False)
        assert answer.words


def test_what_is_somewhere_lies_inside_its_image(run):
    _, data, model, _ = run
    if not model.task.says_where:
        pytest.skip("this task says nothing of places")
    for name in asked(model, data):
        with Image.open(name) as image:
            width, height = image.size
        answer = model.predict(name)[0]
        for place in (*answer.places, *answer.unsaid):
            assert 0 <= place.left < place.right <= width
            assert 0 <= place.top < place.bottom <= height
            assert 0 <= place.probability <= 1


def test_the_report_is_whole_and_has_a_sentence(run):
    name, _, _, folder = run
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["kind"] == name
    assert report["sentence"] == sentence(report)
    assert all(key in report for key in task_of(report).telling.needed)
    assert "<h1>" in (folder / "report.html").read_text("utf-8")
    assert card(report, ()).startswith("---\nlibrary_name: kenspeckle\n")


def test_every_score_has_a_title(run):
    name, _, _, folder = run
    report = json.loads((folder / "report.json").read_text("utf-8"))
    titles = TASKS.load(name).telling.titles
    assert report["scores"]
    assert set(report["scores"]) <= set(titles)
    assert all(isinstance(title, Title) and title.meaning for title in titles.values())


def test_scores_end_as_their_direction_says(run):
    _, _, model, _ = run
    assert all(name.endswith(("_score", "_error")) for name in model.task.telling.titles)


def test_a_task_starts_from_a_recipe_that_exists(run):
    name, *_ = run
    assert start_of(name) == Recipe(task=name).changed(TASKS.load(name).learning.settings)


def test_what_a_label_means_can_be_collated(run):
    name, _, model, _ = run
    task: type[Task] = TASKS.load(name)
    assert task.means in ("class", "tags", "text", "boxes", "name", "nothing")
    assert model.task.kept().keys() == model.bundle.config.settings.keys()
