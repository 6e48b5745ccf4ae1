"""The deep checks: a cropped copy is found and kept on one side, a wrong label is named."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from kenspeckle.data.fit import Fit
from kenspeckle.verbs import check as check_module
from kenspeckle.verbs.check import check
from kenspeckle.verbs.deep import deeply_grouped
from kenspeckle.verbs.prepare import look, prepare

SIDE = 120  # of a tile
COPY, ORIGINAL = "flower/9.png", "flower/4.png"


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    """Eight tiles of each of two photographs, and one of them again, cropped and turned."""
    folder = tmp_path_factory.mktemp("tiles")
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir()
        picture = Image.fromarray(pixels)
        for i in range(8):
            left, top = 150 + i % 4 * SIDE, 60 + i // 4 * SIDE
            tile = picture.crop((left, top, left + SIDE, top + SIDE))
            tile.save(folder / name / f"{i}.png")
    tile = Image.open(folder / ORIGINAL)
    tile.crop((4, 0, SIDE, SIDE - 4)).transpose(Image.Transpose.ROTATE_90).save(folder / COPY)
    return folder


@pytest.fixture(scope="module")
def found(ken, tiles) -> dict[str, dict]:
    """What `ken check --deep` finds, by check."""
    said = ken("check", tiles, "--deep", "--json")
    return by_check(json.loads(said.out)["findings"])


def by_check(findings: Sequence[dict]) -> dict[str, dict]:
    return {finding["check"]: finding for finding in findings}


def test_a_cropped_copy_is_found_and_nothing_else(found):
    (pair,) = found["near_duplicates"]["facts"]["pairs"]
    assert {pair["first"], pair["second"]} == {ORIGINAL, COPY}
    assert pair["turn"] in (1, 3)
    assert sorted(found["near_duplicates"]["paths"]) == [ORIGINAL, COPY]


def test_hashes_alone_do_not_find_it(ken, tiles):
    findings = json.loads(ken("check", tiles, "--json").out)["findings"]
    assert "duplicates" not in by_check(findings)


def test_a_plain_check_looks_at_nothing_deep(ken, tiles, monkeypatch):
    def fail(*rest):
        raise AssertionError("the packaged network should rest")

    monkeypatch.setattr(check_module, "see", fail)
    findings = by_check(json.loads(ken("check", tiles, "--json").out)["findings"])
    assert not {"near_duplicates", "label_errors", "shortcuts"} & set(findings)


def test_findings_are_written_where_asked_for(ken, tiles, tmp_path):
    ken("check", tiles, "--deep", "-q", "--output", tmp_path / "issues.csv")
    assert COPY in paths_in(tmp_path / "issues.csv", "near_duplicates")


def paths_in(issues: Path, check: str) -> list[str]:
    with issues.open(encoding="utf-8") as lines:
        return [row["filename"] for row in csv.DictReader(lines) if row["issue"] == check]


def test_sequences_have_no_deep_check(ken, tmp_path):
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for i in range(3):
            np.save(tmp_path / name / f"{i}.npy", random.normal(size=(4, 2)))
    assert "leave --deep out" in ken("check", tmp_path, "--deep").refused(2)


@pytest.fixture(scope="module")
def read(tiles):
    """The tiles, and vectors by which two of them are alike."""
    prepared = prepare(look(tiles), Fit(224))
    return prepared, vectors_of(prepared)


def vectors_of(prepared) -> np.ndarray:
    vectors = np.eye(len(prepared.kept), dtype=np.float32)
    vectors[row_of(prepared, COPY)] = vectors[row_of(prepared, ORIGINAL)]
    return vectors


def row_of(prepared, path: str) -> int:
    return [sample.path for sample in prepared.used.samples].index(path)


def test_the_copy_is_in_the_group_of_its_original_and_all_others_alone(read, own_cache):
    prepared, vectors = read
    groups = deeply_grouped(prepared, vectors).groups
    a, b = row_of(prepared, ORIGINAL), row_of(prepared, COPY)
    assert len(set(prepared.groups.tolist())) == 17
    assert groups[a] == groups[b]
    assert len(set(groups.tolist())) == 16


def test_groups_that_were_there_stay_together(read):
    prepared, vectors = read
    a, b, c = (row_of(prepared, path) for path in (ORIGINAL, COPY, "china/0.png"))
    given = prepared.groups.copy()
    given[c] = given[b]
    groups = deeply_grouped(replace(prepared, groups=given), vectors).groups
    assert groups[a] == groups[b] == groups[c]
    assert len(set(groups.tolist())) == 15


def test_rows_are_those_that_are_used(tiles, tmp_path, own_cache):
    shutil.copytree(tiles, tmp_path / "tiles")
    (tmp_path / "tiles" / "china" / "0.png").write_bytes(b"no image")
    same = tmp_path / "tiles" / "flower" / "0.png"
    same.write_bytes((tmp_path / "tiles" / "china" / "3.png").read_bytes())  # left out, both
    prepared = prepare(look(tmp_path / "tiles"), Fit(224))
    groups = deeply_grouped(prepared, vectors_of(prepared)).groups
    assert len(prepared.kept) == len(prepared.evidence.rows) - 2 == 14
    assert groups[row_of(prepared, ORIGINAL)] == groups[row_of(prepared, COPY)]
    assert len(set(groups.tolist())) == 13


def test_without_copies_nothing_changes(read):
    prepared, vectors = read
    rows = np.array([i for i in range(17) if i != row_of(prepared, COPY)])
    others = prepared.only(rows)
    grouped = deeply_grouped(others, vectors[rows])
    assert grouped.groups.tolist() == others.groups.tolist()
    assert grouped.alike == []


@pytest.fixture(scope="module")
def tile_run(ken, tiles, tmp_path_factory) -> Path:
    project = tmp_path_factory.mktemp("runs")
    ken("train", tiles, "--set", "head=lda", "--project", project, "-q").went_well()
    return project / "exp"


def test_a_run_writes_what_the_deep_checks_found(tile_run):
    assert sorted(paths_in(tile_run / "data_issues.csv", "near_duplicates")) == [ORIGINAL, COPY]
    report = json.loads((tile_run / "report.json").read_text("utf-8"))
    assert "near_duplicates" in by_check(report["findings"])


def test_copies_stay_on_one_side_of_a_run(ken, tiles, tmp_path):
    held_out = ("--set", "head=lda", "--set", "data.cross_validate_below=2")
    for seed in range(3):
        more = ("--seed", seed, "--project", tmp_path, "--name", f"run{seed}", "-q")
        ken("train", tiles, *held_out, *more).went_well()
        with (tmp_path / f"run{seed}" / "split.csv").open(encoding="utf-8") as lines:
            part = {row["filename"]: row["split"] for row in csv.DictReader(lines)}
        assert part[COPY] == part[ORIGINAL]


@pytest.fixture(scope="module")
def swapped(drawn, tmp_path_factory) -> tuple[Path, set[str]]:
    """75 drawn shapes, three of them in the wrong folder."""
    folder = drawn(tmp_path_factory.mktemp("shapes") / "shapes", circle=25, cross=25, square=25)
    names = ("circle", "cross", "square")
    wrong = set()
    for k, name in enumerate(names):
        other = names[k - 1]
        (folder / name / f"{name}7.png").rename(folder / other / "moved.png")
        wrong.add(f"{other}/moved.png")
    return folder, wrong


def test_wrong_labels_are_named_by_answers_out_of_fold(swapped, own_cache):
    folder, wrong = swapped
    findings = {finding.check: finding for finding in check(folder, deep=True).findings}
    claimed = set(findings["label_errors"].paths)
    assert len(claimed & wrong) >= 2
    assert len(claimed - wrong) <= 1
    suspect = findings["label_errors"].facts["suspects"][0]
    assert suspect["likely_probability"] > suspect["given_probability"]


def test_labels_as_they_are_are_not_accused_by_a_plain_check(swapped, own_cache):
    folder, _ = swapped
    assert not {finding.check for finding in check(folder).findings} & {"label_errors"}
