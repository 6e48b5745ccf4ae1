"""The cache: decoded once, remembered by content, the same from the disk as when fresh."""

from __future__ import annotations

import os
from pathlib import Path

import imagehash
import numpy as np
import pytest
import torch
from PIL import Image

from kenspeckle.data import cache, pixels
from kenspeckle.data.cache import Pixels, clear, decode_all, limit, usage
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.read import Fit, decode
from kenspeckle.data.source import ArrayRow, File, content_hash
from kenspeckle.files import cache_folder


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def noise(seed: int, size: tuple[int, int] = (20, 30), channels: int = 3) -> Image.Image:
    shape = size if channels == 1 else (*size, channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def dataset(folder: Path) -> Dataset:
    paths = sorted(folder.glob("*.*"))
    return Dataset(folder, tuple(Sample(path.name, File(path)) for path in paths), ())


@pytest.fixture
def mixed(tmp_path: Path) -> Dataset:
    """Colour, grey, broken, colour again, transparent."""
    folder = tmp_path / "photos"
    folder.mkdir()
    noise(0).save(folder / "a.png")
    noise(1, channels=1).save(folder / "b.png")
    (folder / "c.png").write_text("not an image")
    noise(2, (64, 16)).save(folder / "d.png")
    noise(3, channels=4).save(folder / "e.png")
    return dataset(folder)


def same(one: cache.Decoded, other: cache.Decoded) -> None:
    assert torch.equal(one.images.tensor(), other.images.tensor())
    for field in ("rows", "width", "height", "perceptual"):
        assert (getattr(one, field) == getattr(other, field)).all()
    assert (one.keys, one.formats, one.notes) == (other.keys, other.formats, other.notes)
    assert {row: str(fault) for row, fault in one.faults.items()} == {
        row: str(fault) for row, fault in other.faults.items()
    }


def test_every_readable_image_is_there_and_the_others_are_named(mixed, tmp_path):
    result = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    assert result.rows.tolist() == [0, 1, 3, 4]
    assert result.faults[2].reason == "not_an_image"
    assert result.width.tolist() == [30, 30, 16, 30]
    assert result.height.tolist() == [20, 20, 64, 20]
    assert result.formats == ("PNG",) * 4
    assert result.notes == ("1 image: transparency drawn over white.",)


def test_cached_pixels_are_the_decoded_pixels(mixed, tmp_path):
    result = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    for image, row in zip(result.images.tensor(), result.rows, strict=True):
        content = mixed.samples[row].source.read()
        pixels = torch.from_numpy(decode(content, Fit(24)).pixels)
        assert torch.equal(image, pixels.permute(2, 0, 1).expand(3, -1, -1))
        assert content_hash(content) in result.keys


def test_a_second_run_decodes_nothing_and_gives_the_same(mixed, tmp_path, monkeypatch):
    first = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    decoded = []
    monkeypatch.setattr(cache, "decode", lambda content, fit: decoded.append(0) or decode(content))
    broken = dataset(mixed.root).without(["c.png"])
    again = decode_all(broken, Fit(24), folder=tmp_path / "cache")
    assert decoded == []
    assert torch.equal(first.images.tensor(), again.images.tensor())
    monkeypatch.undo()
    same(first, decode_all(mixed, Fit(24), folder=tmp_path / "cache"))


def test_changed_content_under_the_same_name_is_decoded_anew(mixed, tmp_path):
    first = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    noise(9).save(mixed.root / "a.png")
    again = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    assert first.keys[0] != again.keys[0]
    assert not torch.equal(first.images.tensor()[0], again.images.tensor()[0])
    assert torch.equal(first.images.tensor()[1:], again.images.tensor()[1:])


def test_all_grey_stays_one_channel(tmp_path):
    for seed in range(3):
        noise(seed, channels=1).save(tmp_path / f"{seed}.png")
    result = decode_all(dataset(tmp_path), Fit(16), folder=tmp_path / "cache")
    assert result.images.channels == 1
    assert result.images.tensor().shape == (3, 1, 16, 16)


def test_images_of_equal_content_share_a_record(tmp_path):
    for name in ("a.png", "b.png"):
        noise(0).save(tmp_path / name)
    result = decode_all(dataset(tmp_path), Fit(16), folder=tmp_path / "cache")
    assert len(result.rows) == 2
    assert [pool.records for pool in usage(tmp_path / "cache") if pool.records] == [1]


def test_a_batch_is_fetched_by_number_in_any_order(mixed, tmp_path, monkeypatch):
    rows = torch.tensor([3, 0, 1, 1])
    in_memory = decode_all(mixed, Fit(24), folder=tmp_path / "cache").images
    monkeypatch.setattr(pixels, "IN_MEMORY_BYTES", 0)
    mapped = decode_all(mixed, Fit(24), folder=tmp_path / "cache").images
    assert torch.equal(in_memory[rows], in_memory.tensor()[rows])
    assert torch.equal(mapped[rows], in_memory[rows])
    assert len(mapped) == len(in_memory) == 4
    assert mapped[rows].is_contiguous(memory_format=torch.channels_last)


def test_a_cache_that_cannot_be_written_costs_speed_and_a_note_only(mixed, tmp_path):
    (tmp_path / "file").write_text("in the way")
    expected = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    result = decode_all(mixed, Fit(24), folder=tmp_path / "file" / "cache")
    assert torch.equal(result.images.tensor(), expected.images.tensor())
    assert "Nothing new is remembered" in result.notes[-1]


def test_sizes_and_modes_do_not_share_pictures(mixed, tmp_path):
    pad = decode_all(mixed, Fit(24), folder=tmp_path / "cache")
    crop = decode_all(mixed, Fit(24, "crop"), folder=tmp_path / "cache")
    assert not torch.equal(pad.images.tensor(), crop.images.tensor())


def test_progress_reaches_the_end(mixed, tmp_path):
    seen = []
    decode_all(mixed, Fit(24), lambda done, total: seen.append((done, total)), tmp_path / "cache")
    assert seen[-1] == (5, 5)


def test_an_empty_dataset_gives_no_images(tmp_path):
    result = decode_all(Dataset(tmp_path, (), ()), Fit(24), folder=tmp_path / "cache")
    assert len(result.images) == len(result.rows) == len(result.keys) == 0


def test_ready_arrays_are_taken_as_they_are_without_a_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "open_pools", None)
    grey = np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8)
    colour = np.arange(2 * 192, dtype=np.uint8).reshape(2, 8, 8, 3)
    sources = [ArrayRow(grey, 3), ArrayRow(colour, 1), ArrayRow(grey, 0)]
    samples = tuple(Sample(str(i), source) for i, source in enumerate(sources))
    result = decode_all(Dataset(tmp_path, samples, ()), Fit(8))
    images = result.images[torch.tensor([0, 1])].permute(0, 2, 3, 1).numpy()
    assert (images[0] == grey[3][..., None]).all()
    assert (images[1] == colour[1]).all()
    assert len(set(result.keys)) == 3


def test_array_rows_of_other_sizes_are_resized_and_told_apart_by_shape(tmp_path):
    square, strip = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 4, 16), np.uint8)
    samples = (Sample("0", ArrayRow(square, 0)), Sample("1", ArrayRow(strip, 0)))
    result = decode_all(Dataset(tmp_path, samples, ()), Fit(16), folder=tmp_path / "cache")
    assert result.height.tolist() == [8, 4]
    assert (result.images.tensor()[1] == 128).any()


def test_pixels_of_an_array_are_rows_too():
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1)
    assert Pixels.of(images).tensor().shape == (3, 1, 4, 4)


def test_the_perceptual_hash_is_imagehash_s():
    image = noise(5, (40, 40))
    expected = int(str(imagehash.phash(image)), 16)
    assert cache.perceptual_hash(np.asarray(image)) == expected


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KENSPECKLE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("KENSPECKLE_CACHE")
    assert cache_folder() == tmp_path / "shared" / "kenspeckle"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "kenspeckle"


def test_usage_limit_and_clear(mixed, tmp_path):
    folder = tmp_path / "cache"
    for age, size in ((300, 16), (200, 24), (100, 32)):
        decode_all(mixed, Fit(size), folder=folder)
        for index in folder.glob(f"images-{size}-*.index"):
            os.utime(index, (10_000 - age, 10_000 - age))
    (folder / "mine.txt").write_text("left alone")
    pools = usage(folder)
    assert [pool.name for pool in pools][:2] == ["images-32-pad-1-v1", "images-32-pad-3-v1"]
    assert sum(pool.records for pool in pools) == 3 * 4
    newest = sum(pool.bytes for pool in pools[:4])
    assert {pool.name[:9] for pool in limit(folder, newest)} == {"images-16"}
    assert len(clear(folder)) == 4
    assert usage(folder) == []
    assert (folder / "mine.txt").exists()
    assert usage(tmp_path / "nowhere") == []
