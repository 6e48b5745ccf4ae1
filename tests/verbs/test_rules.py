"""What a rules file says of a dataset before anything is learned from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kenspeckle.data.dataset import Dataset
from kenspeckle.knowledge.rules import Rules
from kenspeckle.verbs.prepare import look
from kenspeckle.verbs.progress import quiet
from kenspeckle.verbs.rules import held_against, narrowed

RULES = """
classes: {dog: [beagle, husky, collie], cat: }
columns: {region: [arctic, town]}
rules:
  - {if: arctic, then: husky or cat}
"""


@pytest.fixture
def looked(tmp_path: Path):
    """A table of small images: rows of label and region."""

    def made(*rows: tuple[str, str]) -> Dataset:
        lines = ["file,label,region"]
        for number, (label, region) in enumerate(rows):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            lines.append(f"{number}.png,{label},{region}")
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
        return look(tmp_path / "labels.csv", None, quiet)

    return made


@pytest.mark.parametrize(
    ("label", "region", "becomes"),
    [
        ("dog", "arctic", "husky"),
        ("dog", "town", "dog"),
        ("dog", "", "dog"),
        ("!husky", "arctic", "cat"),
        ("", "arctic", "cat|husky"),
        ("", "town", None),
        ("cat", "arctic", "cat"),
        ("beagle", "arctic", "beagle"),
    ],
)
def test_columns_narrow_what_a_label_leaves_open(looked, label, region, becomes):
    rules = Rules.parse(RULES)
    dataset, paths = narrowed(rules, looked((label, region), ("husky", "town")), quiet)
    assert dataset.samples[1].label == "husky"
    found = dataset.samples[0].label
    assert found == becomes or set(str(found).split("|")) == set(str(becomes).split("|"))
    assert bool(paths) == ((label or None) != becomes)


def test_columns_that_leave_only_a_class_without_images_label_nothing(looked):
    text = "classes: [husky]\nunseen: {fox: {}}\ncolumns: {region: [arctic, town]}\n"
    rules = Rules.parse(text + "rules: [if arctic then not husky]\n")
    dataset, paths = narrowed(rules, looked(("", "arctic"), ("husky", "town")), quiet)
    assert (dataset.samples[0].label, paths) == (None, frozenset())


def test_a_narrowed_label_can_be_learned_from(looked):
    rules = Rules.parse(RULES)
    dataset, _ = narrowed(rules, looked(("", "arctic"), ("husky", "town")), quiet)
    seen = rules.compile().observed([dataset.samples[0].label])
    assert seen[0, :4].tolist() == [name in ("husky", "cat") for name in rules.leaves]


def test_labels_that_break_a_rule_with_what_a_column_says_are_told(looked):
    dataset = looked(("beagle", "arctic"), ("beagle", "town"), ("husky", "arctic"))
    checked = held_against(Rules.parse(RULES), dataset, "classify")
    assert checked.broken == {0: (dataset.samples[0].path,)}
