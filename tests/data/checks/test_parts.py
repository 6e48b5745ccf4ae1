"""Parts that the owner gave: what one lacks, and what should not be apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.parts import check_parts
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.duplicates import duplicate_groups
from kenspeckle.data.source import File
from kenspeckle.data.split import Parts, split
from kenspeckle.errors import UnreadableImage


def dataset_of(*rows: tuple[str, str | None] | tuple[str, str | None, str]) -> Dataset:
    """Samples `0.png`, ... from (label, part, group)."""
    samples = tuple(
        Sample(
            f"{i}.png", File(Path("x.png")), row[0], group="".join(row[2:]) or None, split=row[1]
        )
        for i, row in enumerate(rows)
    )
    return Dataset(Path("photos"), samples, class_list(row[0] for row in rows))


def whole(*parts: str) -> list[tuple[str, str | None]]:
    """Both classes in each part."""
    return [(label, part) for part in parts for label in ("cat", "dog")]


def found(dataset: Dataset, evidence: Evidence | None = None):
    return list(check_parts(dataset, evidence or Evidence()))


def test_sound_parts_have_no_findings():
    assert found(dataset_of(*whole("train", "val", "test"))) == []


def test_images_without_parts_have_no_findings():
    dataset = dataset_of(("cat", None, "a"), ("dog", None, "a"))
    assert found(dataset, Evidence(keys=[b"same", b"same"])) == []


def test_a_test_set_alone_has_no_findings():
    assert found(dataset_of(*whole("test"))) == []


def test_a_class_that_is_tested_but_never_trained_is_an_error():
    (finding,) = found(dataset_of(("cat", "train"), ("cat", "test"), ("dog", "test")))
    assert (finding.severity, "'dog'" in finding.words) == ("error", True)


def test_what_can_be_read_decides():
    dataset = dataset_of(*whole("train", "test"))
    (finding,) = found(dataset, Evidence(faults={1: UnreadableImage("corrupt", "damaged")}))
    assert (finding.severity, "'dog'" in finding.words) == ("error", True)


def test_the_division_of_a_run_is_looked_at_too():
    parts = Parts(np.arange(1), np.empty(0, np.int64), np.arange(1, 2))
    (finding,) = found(dataset_of(("cat", None), ("dog", None)), Evidence(parts=parts))
    assert (finding.severity, "'dog'" in finding.words) == ("error", True)


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_of_train_that_a_part_lacks_is_warned_of(part):
    (finding,) = found(dataset_of(*whole("train"), ("dog", "train"), ("cat", part)))
    assert finding.severity == "warning"
    assert f"1 of 2 classes in train (2 images) have none in {part}" in finding.words
    assert "'dog'" in finding.words


def test_a_class_of_val_that_is_not_in_train_is_warned_of():
    (finding,) = found(dataset_of(("cat", "train"), ("cat", "val"), ("dog", "val")))
    assert (finding.severity, "'dog'" in finding.words) == ("warning", True)


def test_groups_that_straddle_are_warned_of():
    rows = [
        ("cat", "train", "x"),
        ("dog", "train", "y"),
        ("cat", "test", "x"),
        ("dog", "test", "z"),
    ]
    (finding,) = found(dataset_of(*rows))
    assert (finding.severity, finding.paths) == ("warning", ("0.png", "2.png"))
    assert "1 group has images in two given parts" in finding.words
    assert "1 in train that belong to test" in finding.words


def test_identical_bytes_in_two_parts_are_warned_of():
    dataset = dataset_of(*whole("train", "val", "test"))
    (finding,) = found(dataset, Evidence(keys=[b"same", b"1", b"same", b"3", b"same", b"5"]))
    assert (finding.severity, finding.paths) == ("warning", ("0.png", "2.png", "4.png"))
    assert "2 images left out of training" in finding.words
    assert not finding.excluded


def test_copies_within_a_part_and_with_two_labels_are_no_matter_of_parts():
    dataset = dataset_of(*whole("train", "train", "test"))
    keys = [b"within", b"two labels", b"within", b"3", b"two labels", b"5"]
    assert found(dataset, Evidence(keys=keys)) == []


def test_nearly_equal_pictures_in_two_parts_are_warned_of_once():
    thumbs = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    hashes = np.arange(1, 7, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    thumbs[4], hashes[4] = thumbs[0], hashes[0]  # another file with the same picture
    thumbs[5], hashes[5] = thumbs[1], hashes[1]  # the same file
    keys = [b"0", b"same", b"2", b"3", b"4", b"same"]
    sides = np.full(6, 100)
    evidence = Evidence(keys=keys, perceptual=hashes, thumbs=thumbs, width=sides, height=sides)
    exact, near = found(dataset_of(*whole("train", "val", "test")), evidence)
    assert (exact.paths, near.paths) == (("1.png", "5.png"), ("0.png", "4.png"))
    assert "nearly" in near.words


def test_what_is_said_to_be_left_out_is_what_the_split_leaves_out():
    rng = np.random.default_rng(0)
    parts = [(None, "train", "val", "test")[i] for i in rng.integers(0, 4, 60)]
    keys = [bytes([i]) for i in rng.integers(0, 25, 60)]
    dataset = dataset_of(*[("cat", part) for part in parts])
    (finding,) = found(dataset, Evidence(keys=keys))
    divided = split(
        dataset.targets(),
        duplicate_groups(keys),
        test_share=0.2,
        tune_share=0.2,
        seed=0,
        given=parts,
    )
    assert f"{len(divided.dropped)} images left out" in finding.words
    dropped = {dataset.samples[row].path for row in divided.dropped}
    assert dropped < set(finding.paths)
