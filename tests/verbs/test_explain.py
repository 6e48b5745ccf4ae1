"""`ken explain` draws where the network looked and names the training images most like it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kenspeckle.errors import UsageError
from kenspeckle.verbs.explain import SHOWN_PX, explain, side_by_side
from kenspeckle.verbs.model import NEAREST, load


@pytest.fixture(scope="module")
def looker(ken, small, tmp_path_factory) -> Path:
    """A transformer that trained for one epoch."""
    project = tmp_path_factory.mktemp("runs")
    choices = ("--model", "transformer", "--epochs", "1", "--set", "training.augment=[]")
    ken("train", small, *choices, "--project", project, "-q").went_well()
    return project / "exp" / "weights" / "best.ken"


@pytest.fixture(scope="module")
def image(small) -> Path:
    return small / "circle" / "circle3.png"


def halves(path: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (SHOWN_PX, 2 * SHOWN_PX, 3)
    return pixels[:, :SHOWN_PX], pixels[:, SHOWN_PX:]


@pytest.mark.parametrize("method", ["attention", "grad-cam"])
def test_a_transformer_is_explained(ken, looker, image, tmp_path, method):
    ken("explain", image, "--model", looker, "--method", method, cwd=tmp_path).went_well()
    seen, hot = halves(tmp_path / "circle3-explained.png")
    assert seen.std() > 0
    assert not np.array_equal(seen, hot)


def test_the_two_methods_draw_different_pictures(ken, looker, image, tmp_path):
    for method in ("attention", "grad-cam"):
        output = ("-o", tmp_path / f"{method}.png")
        ken("explain", image, "--model", looker, "--method", method, *output).went_well()
    one, other = (halves(tmp_path / f"{method}.png") for method in ("attention", "grad-cam"))
    inside = slice(0, SHOWN_PX - 64)  # enlarging blends the seam
    assert np.array_equal(one[0][:, inside], other[0][:, inside])
    assert not np.array_equal(one[1], other[1])


def test_attention_of_another_network_is_refused(ken, small_run, image, tmp_path):
    model = ("--model", small_run / "weights" / "best.ken", "--method", "attention")
    words = ken("explain", image, *model, cwd=tmp_path).refused(2)
    assert "Only a transformer has attention" in words
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_method_is_refused_with_the_nearest(ken, looker, image):
    model = ("--model", looker, "--method", "atention")
    assert "did you mean 'attention'" in ken("explain", image, *model).refused(2)


def test_an_unknown_class_is_refused_with_the_nearest(looker, image, tmp_path):
    with pytest.raises(UsageError, match=r"no class 'circel'.*'circle'"):
        explain(load(looker), image, tmp_path / "a.png", "circel")


def test_the_nearest_training_images_are_named(ken, looker, image, tmp_path):
    out = ken("explain", image, "--model", looker, cwd=tmp_path).went_well()
    lines = [line.split() for line in out.splitlines() if line.startswith("alike")]
    assert len(lines) == NEAREST
    for _, path, label in lines:
        assert label == f"({path.split('/')[0]})"


def test_json_holds_them(ken, looker, image, tmp_path):
    found = json.loads(ken("explain", image, "-m", looker, "--json", cwd=tmp_path).went_well())
    assert set(found) == {"path", "words", "nearest", "places", "picture", "rules"}
    assert found["path"] == str(image)
    assert (tmp_path / found["picture"]).is_file()
    assert len(found["nearest"]) == NEAREST
    model = load(looker)
    assert set(found["nearest"]) <= set(model.bundle.config.paths)
    assert all(path.split("/")[0] == label for path, label in found["nearest"].items())


def test_a_training_image_is_the_most_like_itself(looker, small, tmp_path):
    model = load(looker)
    path = model.bundle.config.paths[0]
    told = explain(model, small / path, tmp_path / "a.png")
    assert next(iter(told.nearest)) == path
    assert told.words == model.predict(small / path)[0].words


def test_without_heat_the_picture_is_grey():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    drawn = side_by_side(pixels, np.zeros((8, 8), np.float32))
    assert np.array_equal(drawn[:, :8], pixels)
    assert (drawn[:, 8:] == drawn[:, 8:, :1]).all()


def test_grey_images_become_colour_pictures():
    pixels = np.full((8, 8, 1), 100, np.uint8)
    assert side_by_side(pixels, np.ones((8, 8), np.float32)).shape == (8, 16, 3)
