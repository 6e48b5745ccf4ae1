"""Copies that hashes miss are told of, once, and as gravely as they deserve."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from kenspeckle.data.alike import alike_groups, alike_pairs
from kenspeckle.data.cache import decode_all
from kenspeckle.data.checks import CHECKS, Evidence
from kenspeckle.data.checks.duplicates import check_duplicates
from kenspeckle.data.checks.near_duplicates import check_near_duplicates
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.duplicates import thumbnail
from kenspeckle.data.fit import Fit
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File

FLOWERS = Path(__file__).resolve().parents[4] / "shared" / "data" / "flowers5.zip"


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Three photographs of 224 x 224 and the first without its right and lower edge."""
    china, flower = load_sample_images().images
    shown = [china[:224, :224], china[200:424, 300:524], flower[100:324, 150:374]]
    edge = Image.fromarray(shown[0]).crop((0, 0, 210, 210)).resize((224, 224))
    return [*shown, np.asarray(edge)]


def evidence_of(images: list[np.ndarray]) -> Evidence:
    pictures = [Image.fromarray(image) for image in images]
    bits = [imagehash.phash(picture).hash.reshape(-1) for picture in pictures]
    sides = np.full(len(images), 224)
    return Evidence(
        keys=[image.tobytes() for image in images],
        perceptual=np.array([np.packbits(b).view(">u8")[0] for b in bits], dtype=np.uint64),
        thumbs=np.stack([thumbnail(image) for image in images]),
        width=sides,
        height=sides,
        images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        vectors=np.ones((len(images), 1), np.float32),
    )


def dataset_of(labels: str, splits: tuple[str | None, ...] = (None,) * 9) -> Dataset:
    """An image for each letter, which is its label; `-` has none."""
    samples = tuple(
        Sample(f"{row}.png", File(Path("x.png")), None if label == "-" else label, split=split)
        for row, (label, split) in enumerate(zip(labels, splits, strict=False))
    )
    return Dataset(Path("photos"), samples, class_list(set(labels) - {"-"}))


def told(dataset: Dataset, evidence: Evidence) -> list[tuple[str, tuple[str, ...], bool]]:
    findings = check_near_duplicates(dataset, evidence)
    return [(finding.severity, finding.paths, finding.excluded) for finding in findings]


def test_a_pair_with_one_label_in_one_part_is_noted(photos):
    assert told(dataset_of("abca"), evidence_of(photos)) == [("note", ("0.png", "3.png"), False)]


def test_hashes_say_nothing_of_that_pair(photos):
    assert list(check_duplicates(dataset_of("abca"), evidence_of(photos))) == []


def test_a_pair_in_two_parts_of_the_split_is_warned_of(photos):
    dataset = dataset_of("abca", ("train", "train", "test", "test"))
    (finding,) = check_near_duplicates(dataset, evidence_of(photos))
    assert finding.severity == "warning"
    assert "0.png (train) and 3.png (test)" in finding.words


def test_a_pair_with_two_labels_is_warned_of(photos):
    (finding,) = check_near_duplicates(dataset_of("abcd"), evidence_of(photos))
    assert finding.severity == "warning"
    assert "0.png (a) and 3.png (d)" in finding.words


def test_a_pair_in_two_parts_with_two_labels_is_told_as_both(photos):
    dataset = dataset_of("abcd", ("train", "train", "test", "test"))
    assert [severity for severity, _, _ in told(dataset, evidence_of(photos))] == ["warning"] * 2


@pytest.mark.parametrize(
    ("labels", "splits"), [("abc-", (None,) * 4), ("abca", ("train", None, None, None))]
)
def test_what_the_owner_does_not_say_is_no_conflict(photos, labels, splits):
    assert [
        severity for severity, _, _ in told(dataset_of(labels, splits), evidence_of(photos))
    ] == ["note"]


def test_the_facts_hold_what_was_measured(photos):
    (finding,) = check_near_duplicates(dataset_of("abca"), evidence_of(photos))
    (pair,) = finding.facts["pairs"]
    assert (pair["first"], pair["second"], pair["turn"]) == ("0.png", "3.png", 0)
    assert pair["overlap"] == pytest.approx((210 / 224) ** 2, abs=0.02)
    assert pair["agreement"] > 0.95


def test_byte_identical_copies_are_left_to_the_check_of_duplicates(photos):
    images = [photos[0], photos[1], photos[2], photos[0]]
    assert told(dataset_of("abca"), evidence_of(images)) == []


def test_pictures_with_near_hashes_are_left_to_the_check_of_duplicates(photos):
    file = io.BytesIO()
    Image.fromarray(photos[0]).save(file, "JPEG", quality=60)
    images = [photos[0], photos[1], photos[2], np.asarray(Image.open(file))]
    evidence = evidence_of(images)
    assert told(dataset_of("abca"), evidence) == []
    assert len(told(dataset_of("abca"), replace(evidence, thumbs=None))) == 1


def test_different_pictures_are_not_claimed(photos):
    assert told(dataset_of("aab"), evidence_of(photos[:3])) == []


@pytest.mark.parametrize("missing", ["vectors", "images", "width", "height"])
def test_without_features_and_pictures_nothing_is_said(photos, missing):
    evidence = replace(evidence_of(photos), **{missing: None})
    assert told(dataset_of("abca"), evidence) == []


def test_rows_of_the_evidence_are_those_that_could_be_read(photos):
    evidence = replace(evidence_of(photos), rows=np.arange(1, 5))
    assert told(dataset_of("aabca"), evidence) == [("note", ("1.png", "4.png"), False)]


def test_many_pairs_are_counted_and_the_first_named(photos):
    tiles = [np.roll(photos[k % 3], 9 * (k // 3), axis=0) for k in range(18)]
    edges = [
        np.asarray(Image.fromarray(tile).crop((0, 0, 210, 210)).resize((224, 224)))
        for tile in tiles
    ]
    dataset = dataset_of("a" * 36, (None,) * 36)
    vectors = np.repeat(np.eye(18, dtype=np.float32), 2, axis=0)  # only a copy is near
    images = [image for pair in zip(tiles, edges, strict=True) for image in pair]
    evidence = replace(evidence_of(images), vectors=vectors, keys=None)
    (finding,) = check_near_duplicates(dataset, evidence)
    assert finding.words.startswith("18 pairs of images show the same picture")
    assert finding.words.endswith("and 13 more.")
    assert len(finding.facts["pairs"]) == 18


def test_it_stands_in_the_catalogue():
    assert CHECKS.load("near_duplicates") is check_near_duplicates


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(400)
def test_planted_copies_of_flowers_are_found_and_nothing_else(tmp_path):
    from kenspeckle.models.pretrained import make_backbone
    from kenspeckle.models.vectors import unit
    from kenspeckle.training.features import extract, feature_network

    if not FLOWERS.is_file():
        pytest.skip(f"{FLOWERS} is not there: it lies beside the checkout, in ../shared/data")
    with zipfile.ZipFile(FLOWERS) as archive:
        archive.extractall(tmp_path)
    tests = sorted((tmp_path / "flowers5" / "test").rglob("*.jpg"))
    random = np.random.default_rng(100)
    planted = set()
    for draw in range(2):
        for number in random.choice(len(tests), 15, replace=False).tolist():
            image = Image.open(tests[number])
            x, y = random.integers(0, 12, 2).tolist()
            copy = tests[number].parents[2] / "train" / tests[number].parent.name
            copy = copy / f"copy-{draw}-{number}.jpg"
            image.crop((x, y, x + 216, y + 216)).save(copy, quality=int(random.integers(50, 91)))
            planted.add((copy.name, tests[number].name))
    dataset = scan(tmp_path / "flowers5")
    decoded = decode_all(dataset, Fit(224), None, tmp_path / "cache")
    network = feature_network(make_backbone("efficientnet-lite0").eval(), "float32")
    vectors = extract(network, decoded.images, decoded.keys, "224-pad", tmp_path / "cache")
    waist = unit(vectors[:, -network.widths[-1] :])
    pairs = alike_pairs(waist, decoded.images, decoded.width, decoded.height)
    names = [Path(sample.path).name for sample in dataset.samples]
    groups = [{names[row] for row in group} for group in alike_groups(pairs)]
    found = [pair for pair in planted if any(set(pair) <= group for group in groups)]
    assert len(found) >= 0.95 * len(planted)
    own = [group for group in groups if not any(name.startswith("copy-") for name in group)]
    assert len(own) <= 3  # of the 750 themselves three pairs are one picture
