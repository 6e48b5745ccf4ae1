"""What tells a class beside the object is named; what tells it rightly, or by chance, is not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from kenspeckle.data.cache import decode_all
from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.shortcuts import (
    MOST,
    _discriminant,
    check_shortcuts,
    cues_of,
    look_at,
    reach_of,
)
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.fit import Fit
from kenspeckle.data.scan import scan
from kenspeckle.data.source import ArrayRow, File

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
SIDE = 36
NOTHING = ArrayRow(np.zeros((1, 1, 1), np.uint8), 0)


def dataset_of(labels, sources=None, groups=None) -> Dataset:
    n = len(labels)
    sources, groups = sources or [NOTHING] * n, groups or [None] * n
    samples = tuple(
        Sample(f"{i}.png", source, label=label, group=group)
        for i, (label, source, group) in enumerate(zip(labels, sources, groups, strict=True))
    )
    return Dataset(Path("photos"), samples, class_list(labels))


def noise(n: int, seed: int = 0) -> torch.Tensor:
    """(n, 3, SIDE, SIDE) pictures that show nothing, each in a colour of its own."""
    rng = np.random.default_rng(seed)
    images = rng.normal(120, 25, (n, 3, SIDE, SIDE))
    images += rng.normal(0, 15, (n, 3, 1, 1))
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8))


def evidence_of(images: torch.Tensor, **known) -> Evidence:
    n = len(images)
    sides = np.full(n, SIDE)
    return Evidence(
        **{"rows": np.arange(n), "width": sides, "height": sides, "images": images, **known}
    )


def beside(n: int, **known) -> Evidence:
    return Evidence(rows=np.arange(n), **known)


def flagged(dataset: Dataset, evidence: Evidence) -> list[str]:
    return [finding.facts["cue"] for finding in check_shortcuts(dataset, evidence)]


HALVES = ["cat"] * 40 + ["dog"] * 40
THIRDS = ["ape"] * 30 + ["bee"] * 30 + ["cow"] * 30


def test_pictures_that_differ_by_chance_alone_are_not_flagged():
    assert flagged(dataset_of(HALVES), evidence_of(noise(80))) == []


def test_a_size_of_its_own_tells_a_class_even_between_two_sizes_of_another():
    width = np.array([300, 500] * 20 + [400] * 40)
    (finding,) = check_shortcuts(dataset_of(HALVES), beside(80, width=width, height=width))
    assert (finding.check, finding.severity, finding.paths) == ("shortcuts", "warning", ())
    assert finding.facts["cue"] == "size"
    assert set(finding.facts["classes"]) == {"cat", "dog"}
    assert finding.facts["best"]["low"] > 0.9
    assert finding.facts["control"]["best"] < 0.8


def test_two_classes_of_each_size_are_told_from_the_other_two():
    labels = [name for name in "abcd" for _ in range(25)]
    width = np.array([300] * 50 + [400] * 50)
    (finding,) = check_shortcuts(dataset_of(labels), beside(100, width=width, height=width))
    first, other = finding.facts["classes"]
    assert (first in "ab") != (other in "ab")
    assert finding.facts["balanced_accuracy"]["value"] == pytest.approx(0.5)
    assert finding.facts["chance"] == 0.25


def test_shapes_that_say_little_are_not_flagged():
    rng = np.random.default_rng(0)
    width = np.where(rng.random(80) < np.repeat([0.3, 0.7], 40), 300, 400)  # 7 in 10 told
    assert flagged(dataset_of(HALVES), beside(80, width=width, height=width)) == []


def test_a_format_of_its_own_tells_a_class():
    formats = ["PNG"] * 30 + ["JPEG"] * 60
    (finding,) = check_shortcuts(dataset_of(THIRDS), beside(90, formats=formats))
    assert finding.facts["cue"] == "format"
    assert "'ape'" in finding.words
    assert "chance" in finding.words


def test_a_perfect_cue_has_the_interval_of_two_shares_of_ten():
    formats = ["PNG"] * 10 + ["JPEG"] * 10
    dataset, evidence = dataset_of(["cat"] * 10 + ["dog"] * 10), beside(20, formats=formats)
    looked = look_at(dataset, evidence)
    reach = reach_of(next(cues_of(dataset, evidence, looked)), looked)
    below = 1 - 10 / (10 + 1.959964**2)  # Wilson's lower end for 10 of 10 is n / (n + z^2)
    assert reach.best.value == 1
    assert reach.best.low == pytest.approx(1 - below / np.sqrt(2), abs=1e-6)
    assert reach.best.high == pytest.approx(1)


def test_a_patch_in_a_corner_of_one_class_is_a_border():
    images = noise(90)
    images[:30, :, :4, -4:] = torch.tensor([200, 30, 160], dtype=torch.uint8)[:, None, None]
    (finding,) = check_shortcuts(dataset_of(THIRDS), evidence_of(images))
    assert (finding.facts["cue"], finding.facts["classes"]) == ("border", ["ape"])
    assert finding.facts["rival"] < 0.8


def test_a_colour_that_fills_the_picture_is_no_border():
    images = noise(90).int()
    images[:30, 2] += 80  # a sea
    images[:30, 0] -= 80
    assert flagged(dataset_of(THIRDS), evidence_of(images.clamp(0, 255).byte())) == []


def test_an_object_in_the_middle_is_no_shortcut():
    images = noise(90)
    images[:30, :, 15:21, 15:21] = 250
    assert flagged(dataset_of(THIRDS), evidence_of(images)) == []


def test_one_class_lighter_than_the_others_is_brightness():
    images = noise(90).int()
    images[:30] += 90
    found = flagged(dataset_of(THIRDS), evidence_of(images.clamp(0, 255).byte()))
    assert found == ["brightness"]


def test_padding_that_makes_a_square_is_no_border():
    images = torch.full((80, 3, SIDE, SIDE), 128, dtype=torch.uint8)
    images[:40, :, 9:27] = noise(40)[:, :, :18]  # wide
    images[40:, :, :, 9:27] = noise(40, seed=1)[..., :18]  # high
    width, height = np.repeat([200, 100], 40), np.repeat([100, 200], 40)
    found = flagged(dataset_of(HALVES), evidence_of(images, width=width, height=height))
    assert found == ["size"]


def files(folder: Path, sizes, times=None) -> list[File]:
    made = []
    for i, size in enumerate(sizes):
        path = folder / f"{i}.png"
        path.write_bytes(b"x" * int(size))
        if times is not None:
            os.utime(path, (times[i], times[i]))
        made.append(File(path))
    return made


def test_files_larger_than_their_detail_are_told_by_bytes(tmp_path):
    rng = np.random.default_rng(0)
    sizes = rng.normal(3000, 100, 90) * np.repeat([2, 1, 1], 30)
    dataset = dataset_of(THIRDS, files(tmp_path, sizes, np.zeros(90)))
    assert flagged(dataset, evidence_of(noise(90))) == ["bytes"]


def test_files_that_are_larger_for_their_detail_are_not(tmp_path):
    images = noise(90)
    images[:30] = (images[:30].float() / 8 + 105).byte()  # a calm sea makes a small file
    detail = images.float().diff(dim=-1).abs().mean((1, 2, 3)).numpy()
    dataset = dataset_of(THIRDS, files(tmp_path, 100 * detail, np.zeros(90)))
    assert "bytes" not in flagged(dataset, evidence_of(images))


DAY = 86_400


@pytest.mark.parametrize(
    ("starts", "gap", "severity"),
    [
        ((20 * DAY, 0, 10 * DAY), 60, ["warning"]),  # photographed on three days
        ((0, 10 * DAY, 20 * DAY), 60, ["note"]),  # or downloaded class by class
        ((20 * DAY, 0, 10 * DAY), 0.01, []),  # copied by a program
        ((7200, 0, 3600), 60, []),  # all on one day
    ],
)
def test_dates_tell_a_class_only_where_they_are_of_pictures(tmp_path, starts, gap, severity):
    times = np.concatenate([1_700_000_000 // DAY * DAY + s + gap * np.arange(30) for s in starts])
    dataset = dataset_of(THIRDS, files(tmp_path, [9] * 90, times))
    assert [f.severity for f in check_shortcuts(dataset, beside(90))] == severity


def test_missing_files_have_no_date():
    dataset = dataset_of(HALVES, [File(Path("no such file.png"))] * 80)
    assert flagged(dataset, beside(80)) == []


def test_a_class_that_is_one_group_proves_nothing():
    formats = ["PNG"] * 40 + ["JPEG"] * 40
    dataset = dataset_of(HALVES, groups=[f"patient of {label}" for label in HALVES])
    assert flagged(dataset, beside(80, formats=formats)) == []


def test_copies_count_once():
    formats = ["PNG"] * 40 + ["JPEG"] * 40
    few = [f"{label} {i % 4}" for i, label in enumerate(HALVES)]
    assert flagged(dataset_of(HALVES), beside(80, formats=formats)) == ["format"]
    assert flagged(dataset_of(HALVES, groups=few), beside(80, formats=formats)) == []


@pytest.mark.parametrize(
    "labels", [["cat"] * 80, ["cat"] * 76 + ["dog"] * 4, ["cat"] * 80 + [None]]
)
def test_fewer_than_two_classes_of_five_images_have_nothing_to_tell(labels):
    samples = tuple(Sample(str(i), NOTHING, label=label) for i, label in enumerate(labels))
    dataset = Dataset(Path("x"), samples, class_list(filter(None, labels)))
    formats = ["PNG" if label == "cat" else "JPEG" for label in labels]
    assert flagged(dataset, beside(len(labels), formats=formats)) == []


def test_labels_that_name_several_classes_take_no_part():
    dataset = dataset_of(["a;b"] * 40 + ["b"] * 40).meaning("tags")
    assert flagged(dataset, beside(80, formats=["PNG"] * 40 + ["JPEG"] * 40)) == []


@given(st.lists(st.integers(1, 1500), min_size=2, max_size=6))
@settings(max_examples=20, deadline=None)
def test_of_many_images_an_even_sample_is_looked_at(counts):
    labels = [f"class {k}" for k, count in enumerate(counts) for _ in range(count)]
    looked = look_at(dataset_of(labels), beside(len(labels)))
    able = {f"class {k}": count for k, count in enumerate(counts) if count >= 5}
    if len(able) < 2:
        assert looked is None
        return
    taken = np.bincount(looked.targets)
    sizes = np.array([able[name] for name in looked.names])
    assert taken.sum() <= MOST
    assert (taken == np.minimum(sizes, taken.max())).all()  # small classes whole, others alike
    assert taken.sum() == sizes.sum() or taken.sum() > MOST - len(able)


@given(st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_labels_by_chance_are_never_told(seed):
    rng = np.random.default_rng(seed)
    labels = [str(k) for k in rng.integers(0, 4, 60)]
    width = rng.integers(100, 400, 60)
    formats = rng.choice(["PNG", "JPEG"], 60).tolist()
    evidence = evidence_of(noise(60), width=width, height=width, formats=formats)
    assert flagged(dataset_of(labels), evidence) == []


def test_the_discriminant_is_that_of_scikit_learn_up_to_a_constant():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), np.repeat([0, 1, 2], 20)
    x = (x - x.mean(0)) / x.std(0)
    asked = rng.normal(size=(7, 5))
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x, y)
    gap = _discriminant(x, y, asked) - theirs.decision_function(asked)
    np.testing.assert_allclose(gap - gap[:, :1], 0, atol=1e-4)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("name", "found"), [("chest-xray", ["size"]), ("scenes6-64px", [])])
def test_hospitals_are_a_shortcut_and_landscapes_are_not(name, found, tmp_path):
    archive = SHARED / f"{name}.zip"
    if not archive.exists():
        pytest.skip(f"the real image sets are not at {SHARED}")
    dataset = scan(archive)
    decoded = decode_all(dataset, Fit(224), None, tmp_path)
    evidence = Evidence(
        rows=decoded.rows,
        keys=decoded.keys,
        width=decoded.width,
        height=decoded.height,
        formats=decoded.formats,
        images=decoded.images,
    )
    assert flagged(dataset, evidence) == found
