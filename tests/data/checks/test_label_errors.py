"""Labels that an honest model contradicts are listed, surest first; nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.label_errors import check_label_errors
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.source import File

CLASSES = ("ape", "bee", "cow")


def dataset_of(targets) -> Dataset:
    samples = tuple(
        Sample(f"{i}.png", File(Path("x")), label=None if k < 0 else CLASSES[k])
        for i, k in enumerate(targets)
    )
    return Dataset(Path("photos"), samples, CLASSES)


def sure_of(truth) -> np.ndarray:
    """(N, 3) probabilities of a model that knows the truth."""
    said = np.full((len(truth), 3), 0.02)
    said[np.arange(len(truth)), truth] = 0.96
    said[::5] += 0.02  # less sure: confident learning compares with the mean of a class
    return said / said.sum(1, keepdims=True)


def found(targets, probabilities, rows=None):
    rows = np.arange(len(targets)) if rows is None else rows
    evidence = Evidence(rows=rows, probabilities=probabilities)
    return list(check_label_errors(dataset_of(targets), evidence))


TRUTH = np.repeat([0, 1, 2], 20)


def swapped(*rows: int) -> np.ndarray:
    targets = TRUTH.copy()
    targets[list(rows)] = (targets[list(rows)] + 1) % 3
    return targets


def test_right_labels_are_not_listed():
    assert found(TRUTH, sure_of(TRUTH)) == []


def test_wrong_labels_are_listed_with_both_probabilities_and_stay_in():
    (finding,) = found(swapped(3, 44), sure_of(TRUTH))
    assert (finding.check, finding.severity, finding.excluded) == ("label_errors", "note", False)
    assert set(finding.paths) == {"3.png", "44.png"}
    fact = next(fact for fact in finding.facts["suspects"] if fact["path"] == "3.png")
    assert (fact["given"], fact["likely"]) == ("bee", "ape")
    assert fact["given_probability"] < 0.05 < 0.9 < fact["likely_probability"]
    assert "3.png is labelled 'bee' (2 %) and looks like 'ape' (96 %)" in finding.words
    assert "list to look at" in finding.advice


def test_the_surest_comes_first():
    probabilities = sure_of(TRUTH)
    probabilities[30] = [0.01, 0.99, 0.0]
    (finding,) = found(swapped(3, 30), probabilities)
    assert finding.paths == ("30.png", "3.png")


def test_many_are_a_warning_of_which_the_first_are_told():
    (finding,) = found(swapped(1, 11, 21, 31, 51), sure_of(TRUTH))
    assert (finding.severity, len(finding.paths)) == ("warning", 5)
    assert "and 2 more" in finding.words


def test_a_model_that_is_not_sure_accuses_nobody():
    probabilities = sure_of(TRUTH)
    probabilities[3] = [0.55, 0.4, 0.05]  # labelled bee
    assert found(swapped(3), probabilities) == []


def test_images_without_an_answer_or_a_label_take_no_part():
    targets, probabilities = swapped(3, 44), sure_of(TRUTH)
    probabilities[3] = np.nan
    targets[44] = -1
    assert found(targets, probabilities) == []


def test_rows_are_those_that_could_be_read():
    rows = np.arange(2, 60)
    (finding,) = found(swapped(3), sure_of(TRUTH)[rows], rows)
    assert finding.paths == ("3.png",)


@pytest.mark.parametrize("targets", [[0] * 60, [-1] * 60, []])
def test_without_two_classes_there_is_nothing_to_confuse(targets):
    assert found(np.array(targets, dtype=int), sure_of(TRUTH)[: len(targets)]) == []


def test_a_class_of_which_no_image_was_read_does_no_harm():
    targets, truth = swapped(3)[:40], TRUTH[:40]
    (finding,) = found(targets, sure_of(truth))
    assert finding.paths == ("3.png",)


def test_labels_that_name_several_classes_take_no_part():
    samples = [Sample(f"{i}.png", File(Path("x")), label="ape;bee") for i in range(60)]
    dataset = Dataset(Path("photos"), tuple(samples), class_list(["ape;bee"])).meaning("tags")
    evidence = Evidence(rows=np.arange(60), probabilities=np.full((60, 2), 0.9))
    assert list(check_label_errors(dataset, evidence)) == []


def test_it_is_silent(capfd):
    found(swapped(3), sure_of(TRUTH))
    assert capfd.readouterr() == ("", "")
