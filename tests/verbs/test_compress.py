"""`ken compress` and `ken decompress`: what goes in comes out, near enough, or is refused."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import kenspeckle
from kenspeckle.data import patches
from kenspeckle.data.formats import psnr
from kenspeckle.data.stream import CorruptStream, OtherModel
from kenspeckle.errors import UnreadableImage, UsageError
from kenspeckle.tasks import compress as task
from kenspeckle.verbs.compress import check_names, compress, decompress
from kenspeckle.verbs.settle import start_of


def waves(height: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    colours = [127 + 60 * np.sin(x / 4 + c + seed) + 50 * np.cos(y / 5) for c in range(3)]
    noisy = np.stack(colours, 2) + random.normal(0, 3, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten images of 32 pixels, and two codecs that took two steps on them: a.ken and b.ken."""
    home = tmp_path_factory.mktemp("compress")
    (home / "images").mkdir()
    for i in range(10):
        Image.fromarray(waves(32, 32, i)).save(home / "images" / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "LEAST_PATCHES", 64)
        patch.setattr(task.Compress, "learning", replace(task.Compress.learning, most_measured=1))
        for name, seed in (("a", 0), ("b", 1)):
            kenspeckle.train(
                home / "images",
                start_of("compress"),
                settings={"training.steps": 2, "training.seed": seed},
            ).save(home / f"{name}.ken")
    return home


@pytest.fixture(scope="module")
def model(folder):
    return kenspeckle.load(folder / "a.ken")


@pytest.fixture
def image(folder):
    return folder / "images" / "0.png"


def pixels_of(file) -> np.ndarray:
    with Image.open(file) as opened:
        return np.array(opened)


def packed(model, image, tmp_path, **options):
    """The file of an image, and what was told of it."""
    found = compress(model, image, **options)
    path = tmp_path / f"{image.stem}{found.ending}"
    path.write_bytes(found.content)
    return path, found


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("quality", [1, 50, 100])
def test_what_comes_out_is_as_near_as_was_told(model, image, tmp_path, quality):
    file, found = packed(model, image, tmp_path, codec="ours", quality=quality)
    assert file.suffix == ".kenc"
    assert psnr(pixels_of(image), decompress(model, file)) == found.psnr == found.wanted


def test_a_model_file_reads_what_the_same_file_wrote(model, folder, image, tmp_path):
    file, _ = packed(model, image, tmp_path, codec="ours")
    again = kenspeckle.load(folder / "a.ken")
    assert np.array_equal(decompress(again, file), decompress(model, file))


def test_a_higher_quality_is_nearer_and_larger(model, image):
    few, many = (compress(model, image, codec="ours", quality=q) for q in (10, 90))
    assert few.psnr < many.psnr
    assert len(few.content) < len(many.content)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (17, 5)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_any_shape_comes_back(model, tmp_path, shape, mode):
    path = tmp_path / "odd.png"
    Image.fromarray(waves(*shape)).convert(mode).save(path)
    file, _ = packed(model, path, tmp_path, codec="ours")
    assert decompress(model, file).shape == (*shape, 1 if mode == "L" else 3)


def test_an_image_is_turned_upright_first(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "lying.jpg"
    Image.fromarray(waves(20, 40)).save(path, exif=exif, quality=95)
    file, found = packed(model, path, tmp_path, codec="ours")
    assert decompress(model, file).shape == (40, 20, 3)
    assert any("EXIF" in note for note in found.notes)


# ---------------------------------------------------------------- the smallest wins


def test_auto_takes_the_smallest_that_is_as_near(model, image):
    found = compress(model, image, codec="auto", quality=60)
    assert len(found.content) == min(found.sizes.values()) == found.sizes[found.codec]
    assert found.psnr >= found.wanted == compress(model, image, codec="ours", quality=60).psnr
    assert list(found.sizes.values()) == sorted(found.sizes.values())
    assert found.words.startswith(f"{found.codec}, {len(found.content)} bytes at ")


@pytest.mark.parametrize("codec", ["webp", "jpeg", "avif"])
def test_another_format_is_as_near_as_ours_and_anybody_can_open_it(model, image, codec):
    found = compress(model, image, codec=codec, quality=30)
    assert found.codec == codec
    assert found.psnr >= found.wanted
    back = pixels_of(io.BytesIO(found.content))
    assert psnr(pixels_of(image), back) == pytest.approx(found.psnr)


def test_a_format_that_cannot_come_as_near_says_so(model, tmp_path):
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise.repeat(8, 0).repeat(8, 1)).save(path)
    found = compress(model, path, codec="jpeg", quality=100)
    assert found.psnr < found.wanted
    assert f"short of the {found.wanted:.1f} dB that were wanted" in found.words
    assert "jpeg" not in compress(model, path, codec="auto", quality=100).sizes


# ---------------------------------------------------------------- refusals


def test_a_file_of_another_model_is_refused(model, folder, image, tmp_path):
    file, _ = packed(model, image, tmp_path, codec="ours")
    with pytest.raises(OtherModel, match=f"{file}.*compressed with model"):
        decompress(kenspeckle.load(folder / "b.ken"), file)


def test_no_damage_passes(model, image, tmp_path):
    file, found = packed(model, image, tmp_path, codec="ours", quality=1)
    random = np.random.default_rng(0)
    broken = [found.content[:length] for length in range(len(found.content))]
    for place, change in enumerate(random.integers(1, 256, len(found.content))):
        flipped = bytearray(found.content)
        flipped[place] ^= int(change)
        broken.append(bytes(flipped))
    for content in [*broken, found.content + b"\0"]:
        file.write_bytes(content)
        with pytest.raises((CorruptStream, OtherModel), match=str(file)):
            decompress(model, file)


def test_an_ordinary_image_is_no_compressed_one(model, image):
    with pytest.raises(CorruptStream, match="not a picture that `ken compress` wrote"):
        decompress(model, image)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"quality": 0}, "1 to 100"), ({"quality": 101}, "1 to 100"), ({"codec": "wepb"}, "'webp'")],
)
def test_wrong_choices_are_refused(model, image, options, words):
    with pytest.raises(UsageError, match=words):
        compress(model, image, **options)


def test_a_missing_file_is_named(model, tmp_path):
    for verb in (compress, decompress):
        with pytest.raises(UnreadableImage, match=r"none\.png"):
            verb(model, tmp_path / "none.png")


def test_a_model_of_another_task_is_refused(image):
    with pytest.raises(UsageError, match="--task compress"):
        compress(kenspeckle.packaged(), image)


def test_two_files_of_one_name_are_refused(tmp_path):
    check_names([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(UsageError, match=r"a\.png and .*a\.jpg"):
        check_names([tmp_path / "a.png", tmp_path / "a.jpg"])


# ---------------------------------------------------------------- the command line


def test_the_commands_leave_originals_alone(ken, folder, image, tmp_path):
    there = tmp_path / "0.png"
    there.write_bytes(image.read_bytes())
    told = ken(
        "compress", there, "-m", folder / "a.ken", "--codec", "ours", "-o", tmp_path, "--json"
    )
    (row,) = json.loads(told.out)
    assert row["codec"] == "ours"
    assert row["bytes"] == (tmp_path / "0.kenc").stat().st_size
    told = ken("decompress", row["file"], "-m", folder / "a.ken", "-o", tmp_path, "--json")
    (row,) = json.loads(told.out)
    assert (row["width"], row["height"]) == (32, 32)
    assert there.read_bytes() == image.read_bytes()
    with Image.open(row["picture"]) as back:
        assert back.size == (32, 32)


def test_it_can_be_measured_on_other_images(ken, folder, tmp_path):
    (tmp_path / "new").mkdir()
    for i in range(3):
        Image.fromarray(waves(30, 34, 20 + i)).save(tmp_path / "new" / f"{i}.png")
    said = ken("val", tmp_path / "new", "-m", folder / "a.ken", "--quiet").went_well()
    assert said.startswith("measured on 3 images (all images)")
    assert "JPEG 95" in said


def test_its_card_speaks_of_files_and_not_of_classes(model):
    assert model.bundle.report["unknown"] is None
    assert "names a class" not in model.bundle.card
    assert "ken compress photo.png" in model.bundle.card
    assert "from kenspeckle.verbs.compress import compress" in model.bundle.card


def test_only_some_images_are_measured_where_there_are_many(model):
    report = model.bundle.report
    assert report["measured"]["n"] == 1
    assert report["measured"]["how"] == "1 of the 2 images held out for the test"
