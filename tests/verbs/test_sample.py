"""A model that draws: trained for a moment, asked by seed, its images known again as drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import kenspeckle
from kenspeckle.data.checks import run_checks
from kenspeckle.data.read import SYNTHETIC, read_image
from kenspeckle.data.source import File
from kenspeckle.errors import EmptyDataset, UsageError
from kenspeckle.verbs import examine
from kenspeckle.verbs.check import check
from kenspeckle.verbs.sample import sample, write_drawn
from kenspeckle.verbs.settle import start_of
from kenspeckle.verbs.val import val

CLASSES = ("bright", "dark")


def squares(folder, count, start=0):
    random = np.random.default_rng(start)
    for name, light in zip(CLASSES, (200, 40), strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            pixels = random.normal(light, 20, (28, 28)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache):
    place = tmp_path_factory.mktemp("drawing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KENSPECKLE_CACHE", str(cache))
        patch.setattr(examine, "LEAST_UPDATES", 5)
        (place / "run").mkdir()
        kenspeckle.train(
            squares(place / "squares", 10),
            start_of("generate"),
            settings={"training.steps": 3},
            folder=place / "run",
        )
    return place / "run"


@pytest.fixture(scope="module")
def model(run):
    return kenspeckle.load(run / "weights" / "best.ken")


def test_a_seed_gives_one_image_whatever_n_is(model):
    many = sample(model, 6, seed=3)
    (alone,) = sample(model, 1, seed=5)
    assert many[2].name == alone.name == "000005"
    assert many[2].label == alone.label == CLASSES[5 % 2]
    assert np.array_equal(many[2].pixels, alone.pixels)


def test_a_named_class_is_drawn_alone(model):
    drawn = sample(model, 4, label="dark")
    assert {one.label for one in drawn} == {"dark"}
    assert drawn[0].pixels.shape == (28, 28, 1)


def test_a_way_begins_and_ends_with_the_images_of_its_seeds(model):
    way = sample(model, 5, label="dark", seed=8, interpolate=True, truncation=1.0)
    ends = sample(model, 2, label="dark", seed=8, truncation=1.0)
    assert np.array_equal(way[0].pixels, ends[0].pixels)
    assert np.abs(way[-1].pixels.astype(int) - ends[1].pixels).max() <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "drak"}, "did you mean 'dark'"),
        ({"n": 0}, "1 or more"),
        ({"n": 1, "interpolate": True}, "2 or more"),
        ({"seed": -1}, "0 or more"),
        ({"truncation": 0.0}, "above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(model, changes, words):
    with pytest.raises(UsageError, match=words):
        sample(model, **{"n": 2, **changes})


def test_other_models_do_not_draw(model):
    with pytest.raises(UsageError, match="--task generate"):
        sample(kenspeckle.packaged())
    with pytest.raises(UsageError, match="ken sample"):
        model.predict("x.png")
    with pytest.raises(UsageError, match="ken report"):
        val(model, "anywhere")


def test_no_image_is_kept_for_tuning_and_test_images_are_not_learned_from(run):
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert report["split"]["val"] == 0
    assert report["split"]["train"] + report["split"]["test"] == 20
    assert report["measured"]["n"] == report["split"]["test"] > 0


def test_the_run_leaves_marked_pictures_and_shows_them(run):
    for name in ("generated.png", "nearest.png"):
        with Image.open(run / name) as image:
            assert image.info["synthetic"].startswith("kenspeckle ")
    assert (run / "report.html").read_text("utf-8").count(
        'class="sheet"'
    ) == 2  # one epoch is no film
    assert not (run / "film.png").exists()
    assert [path.name for path in (run / "film").iterdir()] == ["0001.png"]


def test_drawn_files_bear_their_class_seed_and_mark(model, tmp_path, own_cache):
    paths, sheet = write_drawn(tmp_path, sample(model, 3))
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        f"{CLASSES[i % 2]}/drawn-00000{i}.png" for i in range(3)
    ]
    for path in (*paths, sheet):
        assert SYNTHETIC in read_image(File(path)).notes


def test_nobody_trains_on_drawn_images_alone_unawares(model, tmp_path, own_cache):
    write_drawn(tmp_path / "drawn", sample(model, 8))
    with pytest.raises(EmptyDataset, match="drawn by a network"):
        kenspeckle.train(tmp_path / "drawn", settings={"model": "seed-cnn"})


@pytest.mark.parametrize("again", [False, True], ids=["fresh", "cached"])
def test_drawn_images_among_real_ones_are_left_out(model, tmp_path, own_cache, again):
    squares(tmp_path, 5)
    write_drawn(tmp_path, sample(model, 4))
    (tmp_path / "sheet.png").unlink()
    for _ in range(1 + again):
        prepared = check(tmp_path)
    (found,) = [f for f in prepared.findings if f.check == "synthetic"]
    assert found.excluded
    assert len(found.paths) == 4
    assert all("drawn-" in path for path in found.paths)
    assert not any("drawn-" in s.path for s in prepared.used.samples)


def test_drawn_images_may_be_learned_from_beside_a_real_test_part(model, tmp_path, own_cache):
    squares(tmp_path / "train", 5)
    squares(tmp_path / "test", 4, start=50)
    write_drawn(tmp_path / "train", sample(model, 4))
    (tmp_path / "train" / "sheet.png").unlink()
    write_drawn(tmp_path / "test", sample(model, 2, seed=100))
    (tmp_path / "test" / "sheet.png").unlink()
    prepared = check(tmp_path)
    findings = {f.excluded: f for f in prepared.findings if f.check == "synthetic"}
    assert all(path.startswith("test/") for path in findings[True].paths)
    assert len(findings[True].paths) == 2
    assert all(path.startswith("train/") for path in findings[False].paths)
    assert len(findings[False].paths) == 4
    kept = [s for s in prepared.used.samples if "drawn-" in s.path]
    assert {s.split for s in kept} == {"train"}


def test_real_images_raise_no_finding(tmp_path, own_cache):
    prepared = check(squares(tmp_path, 3))
    assert not [
        f for f in run_checks(prepared.dataset, prepared.evidence) if f.check == "synthetic"
    ]


def test_the_command_writes_images_and_says_where(run, ken, tmp_path):
    file = run / "weights" / "best.ken"
    told = ken("sample", file, "-n", "4", "--output", tmp_path / "out", "--json").went_well()
    listed = json.loads(told)
    assert len(listed["images"]) == 4
    assert all((tmp_path / "out" / row["label"]).is_dir() for row in listed["images"])
    assert (tmp_path / "out" / "sheet.png").exists()
    shown = ken("sample", file, "-n", "4", "--output", tmp_path / "out").went_well()
    assert "4 images of 2 classes" in shown
