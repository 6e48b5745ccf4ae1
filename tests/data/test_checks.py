"""Each fault of a dataset is found, and nothing else."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from kenspeckle.data.checks import CHECKS, Evidence, run_checks, write_issues
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File, content_hash
from kenspeckle.errors import UnreadableImage

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def dataset_of(**counts: int) -> Dataset:
    samples = tuple(
        Sample(f"{label}/{i}.png", File(Path("x.png")), label=label)
        for label, count in counts.items()
        for i in range(count)
    )
    return Dataset(Path("photos"), samples, class_list(counts))


def found(dataset: Dataset, evidence: Evidence | None = None):
    return [(f.check, f.severity, f.excluded) for f in run_checks(dataset, evidence or Evidence())]


def test_a_sound_dataset_has_no_findings():
    dataset = dataset_of(cat=6, dog=6)
    assert found(dataset, Evidence(keys=[bytes([i]) for i in range(12)])) == []


def test_unreadable_files_are_gathered_by_reason_and_left_out():
    faults = {
        0: UnreadableImage("lfs_pointer", "a placeholder"),
        3: UnreadableImage("truncated", "it ends early"),
        5: UnreadableImage("lfs_pointer", "a placeholder"),
    }
    findings = run_checks(dataset_of(cat=20, dog=20), Evidence(faults=faults))
    assert [(f.paths, f.facts["reason"]) for f in findings] == [
        (("cat/0.png", "cat/5.png"), "lfs_pointer"),
        (("cat/3.png",), "truncated"),
    ]
    assert all(f.severity == "error" and f.excluded for f in findings)
    assert "git lfs pull" in findings[0].advice


def test_one_class_cannot_be_told_apart():
    assert found(dataset_of(cat=9)) == [("classes", "error", False)]


def test_a_class_whose_files_are_all_unreadable_counts_as_empty():
    faults = {row: UnreadableImage("corrupt", "damaged") for row in range(6, 12)}
    words = " ".join(f.words for f in run_checks(dataset_of(a=6, b=6), Evidence(faults=faults)))
    assert "only 'a' has any" in words


def test_small_classes_are_warned_of():
    findings = run_checks(dataset_of(ape=1, cat=4, dog=5), Evidence())
    assert [(f.severity, len(f.paths)) for f in findings] == [("warning", 1), ("warning", 4)]


@pytest.mark.parametrize("each", [1, 0])
def test_twenty_thousand_classes_of_an_image_at_most_are_said_to_be_too_many(each):
    counts = {f"class {i}": each if i else 1 for i in range(20_000)}
    start = time.process_time()
    findings = run_checks(dataset_of(**counts), Evidence())
    assert time.process_time() - start < 3  # 0.6 on two quiet cores
    words = " ".join(finding.words for finding in findings)
    assert ("None of 20,000 classes has a second image" in words) == bool(each)
    assert ("19,999 classes without a single image" in words) != bool(each)
    assert all(finding.severity == "warning" or not each for finding in findings)


def test_images_without_a_label_are_listed():
    dataset = dataset_of(cat=5, dog=5)
    samples = (*dataset.samples, Sample("x.png", File(Path("x.png"))))
    (finding,) = run_checks(Dataset(dataset.root, samples, dataset.classes), Evidence())
    assert (finding.paths, finding.excluded) == (("x.png",), True)


def test_copies_with_one_label_stay_and_with_two_are_left_out():
    keys = [bytes([i]) for i in range(12)]
    keys[1] = keys[0]
    keys[11] = keys[5]
    findings = run_checks(dataset_of(cat=6, dog=6), Evidence(keys=keys))
    assert [(f.severity, f.paths, f.excluded) for f in findings] == [
        ("error", ("cat/5.png", "dog/5.png"), True),
        ("note", ("cat/0.png", "cat/1.png"), False),
    ]
    assert "cat/5.png (cat) and dog/5.png (dog)" in findings[0].words


def test_rows_of_the_evidence_are_those_that_could_be_read():
    dataset = dataset_of(cat=6, dog=6)
    evidence = Evidence(
        rows=np.arange(1, 12),
        faults={0: UnreadableImage("empty", "no bytes")},
        keys=[b"same", b"same", *(bytes([i]) for i in range(9))],
    )
    assert run_checks(dataset, evidence)[-1].paths == ("cat/1.png", "cat/2.png")


def test_near_copies_with_two_labels_are_warned_of_and_stay():
    thumbs = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
    thumbs[6] = thumbs[0]
    hashes = np.arange(1, 13, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hashes[6] = hashes[0]
    sides = np.full(12, 100)
    evidence = Evidence(keys=[bytes([i]) for i in range(12)], perceptual=hashes, thumbs=thumbs,
                        width=sides, height=sides)  # fmt: skip
    (finding,) = run_checks(dataset_of(cat=6, dog=6), evidence)
    assert (finding.severity, finding.excluded) == ("warning", False)
    assert finding.paths == ("cat/0.png", "dog/0.png")


def test_issues_are_a_row_for_each_file(tmp_path):
    findings = run_checks(dataset_of(cat=2), Evidence())
    write_issues(tmp_path / "data_issues.csv", findings)
    text = (tmp_path / "data_issues.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["filename"], row["severity"]) for row in rows] == [
        ("", "error"),
        ("cat/0.png", "warning"),
        ("cat/1.png", "warning"),
    ]


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_of_the_catalogue_runs_without_evidence(name):
    assert list(CHECKS.load(name)(dataset_of(cat=5, dog=5), Evidence())) == []


@pytest.mark.shared
def test_the_known_problems_of_flowers5_are_found():
    if not SHARED.exists():
        pytest.skip(f"the real image sets are not at {SHARED}")
    dataset = scan(SHARED / "flowers5-known-problems.zip")
    keys = [content_hash(sample.source.read()) for sample in dataset.samples]
    findings = [f for f in run_checks(dataset, Evidence(keys=keys)) if f.check == "duplicates"]
    assert [f.severity for f in findings] == ["error"] * 4 + ["note"]
    assert len(findings[-1].paths) == 4
