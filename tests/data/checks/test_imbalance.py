"""Uneven classes are named, and small sets are left to the check of classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.imbalance import check_imbalance
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.source import File
from kenspeckle.errors import UnreadableImage


def dataset_of(**counts: int) -> Dataset:
    samples = tuple(
        Sample(f"{label}/{i}.png", File(Path("x.png")), label=label)
        for label, count in counts.items()
        for i in range(count)
    )
    return Dataset(Path("photos"), samples, class_list(counts))


@pytest.mark.parametrize(
    ("common", "rare", "severity"),
    [(60, 20, None), (61, 20, "note"), (200, 20, "note"), (201, 20, "warning"), (15, 1, None)],
)
def test_the_ratio_decides_how_grave_it_is(common, rare, severity):
    found = list(check_imbalance(dataset_of(cat=common, dog=rare), Evidence()))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_the_words_name_the_classes_and_what_training_does():
    (finding,) = check_imbalance(dataset_of(ape=120, cat=8, dog=100, elk=9), Evidence())
    assert "'ape' has 120 images, 'cat' 8, 15.0 times fewer" in finding.words
    assert "'cat', 'elk'" in finding.words
    assert "'dog'" not in finding.words
    assert "balanced loss" in finding.advice
    assert "recall" in finding.advice


def test_only_images_that_can_be_read_count():
    faults = {row: UnreadableImage("corrupt", "damaged") for row in range(20, 38)}
    dataset = dataset_of(cat=20, dog=20)
    (finding,) = check_imbalance(dataset, Evidence(faults=faults))
    assert finding.facts["images"] == {"cat": 20, "dog": 2}


def test_rare_labels_of_images_with_several_are_no_fault():
    samples = tuple(
        Sample(f"{i}.png", File(Path("x.png")), label="wet" if i else "dark;wet") for i in range(99)
    )
    dataset = Dataset(Path("photos"), samples, ("dark", "wet"), means="tags")
    assert list(check_imbalance(dataset, Evidence())) == []


def test_a_set_without_labels_is_not_uneven():
    samples = (Sample("a.png", File(Path("a.png"))),)
    assert list(check_imbalance(Dataset(Path("photos"), samples, ()), Evidence())) == []
