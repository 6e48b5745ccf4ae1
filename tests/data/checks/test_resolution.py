"""Blurred and enlarged pictures are found; sharp, drawn, soft and small ones are not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.resolution import check_resolution, detail
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.pixels import Pixels
from kenspeckle.data.read import Fit, decode
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def leaves(side: int, seed: int = 0, height: int | None = None) -> Image.Image:
    """Discs of all sizes over one another, as natural pictures have them, with sharp edges."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, height or side))
    draw = ImageDraw.Draw(image)
    for radius in np.geomspace(side / 3, 1.5, 300):
        x, y = rng.integers(0, side, 2)
        ink = tuple(rng.integers(0, 256, 3).tolist())
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    return image


def enlarged(image: Image.Image, side: int) -> Image.Image:
    small = image.resize((side, side * image.height // image.width), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def found(images: list[Image.Image], fit: Fit | None = None):
    pictures = []
    for image in images:
        file = BytesIO()
        image.save(file, "PNG")
        pictures.append(decode(file.getvalue(), fit or Fit(224)))
    samples = tuple(Sample(f"{i}.png", File(Path("x.png")), "a") for i in range(len(images)))
    evidence = Evidence(
        images=Pixels.of(np.stack([picture.pixels for picture in pictures])),
        width=np.array([picture.width for picture in pictures]),
        height=np.array([picture.height for picture in pictures]),
    )
    return list(check_resolution(Dataset(Path("photos"), samples, ("a",)), evidence))


@pytest.mark.parametrize("side", [64, 100, 227, 700])
def test_sharp_pictures_of_any_size_are_not_blamed(side):
    assert found([leaves(side, seed, side * 3 // 4) for seed in range(3)]) == []


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
def test_an_enlarged_picture_is_found_however_it_is_fitted(mode):
    image = enlarged(leaves(300, height=200), 70)
    (finding,) = found([image, *(leaves(300, seed, 200) for seed in range(9))], Fit(224, mode))
    assert (finding.severity, finding.paths) == ("warning", ("0.png",))


def test_the_words_say_how_many_pixels_the_detail_fills():
    sharp = [leaves(227, seed) for seed in range(11)]
    (finding,) = found([enlarged(leaves(227, 99), 64), *sharp])
    assert finding.severity == "note"  # one of twelve
    assert "0.png contains about" in finding.words
    assert "px of detail in 227 px" in finding.words
    assert finding.facts["detail_px"][0] == pytest.approx(64, rel=0.25)


def test_a_picture_out_of_focus_is_found():
    (finding,) = found([leaves(400).filter(ImageFilter.GaussianBlur(6))])
    assert finding.paths == ("0.png",)


def test_drawings_on_flat_ground_are_not_blamed():
    images = []
    for side in (96, 224, 900):
        image = Image.new("RGB", (side, side), (200, 180, 60))
        place = (side // 2, side // 2, side // 5)
        ImageDraw.Draw(image).regular_polygon(place, 3, 20, fill=(30, 90, 160))
        images.append(image)
    assert found(images) == []


def test_blank_pictures_are_not_judged():
    assert found([Image.new("RGB", (100, 100), (9, 9, 9))]) == []


def test_tiny_originals_are_noted_where_the_network_sees_much_more():
    image = leaves(28)
    (finding,) = found([image, leaves(227)])
    assert (finding.severity, finding.paths) == ("note", ("0.png",))
    assert found([image], Fit(32)) == []


def test_small_arrays_are_as_they_are_meant():
    sides = np.array([28])
    evidence = Evidence(
        images=Pixels.of(np.zeros((1, 224, 224, 1), dtype=np.uint8)),
        width=sides,
        height=sides,
        formats=("ARRAY",),
    )
    samples = (Sample("x[0]", File(Path("x.npz")), "a"),)
    assert list(check_resolution(Dataset(Path("x.npz"), samples, ("a",)), evidence)) == []


def test_the_more_a_picture_is_blurred_the_less_detail_it_has():
    image = leaves(224).convert("L")
    blurred = [image.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 2, 4, 8)]
    found = [detail(np.asarray(one, dtype=np.float32), 224) for one in blurred]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


def test_turning_and_inverting_a_picture_changes_nothing():
    grey = np.asarray(enlarged(leaves(224), 64).convert("L"), dtype=np.float32)
    assert detail(grey.T, 224) == detail(255 - grey, 224) == detail(grey, 224)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["flowers5", "scenes6-64px", "chest-xray", "orl-faces"])
def test_real_pictures_are_not_blamed_until_they_are_enlarged(name):
    if not SHARED.exists():
        pytest.skip(f"the real image sets are not at {SHARED}")
    samples = scan(SHARED / f"{name}.zip").samples[::30]
    images = [Image.open(BytesIO(sample.source.read())).convert("RGB") for sample in samples]
    assert found(images) == []
    (finding,) = found([enlarged(image, image.width // 4) for image in images])
    assert len(finding.paths) > 0.8 * len(images)
