"""Every run leaves a report that opens: finished, failed, or ended from outside."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from kenspeckle.data.fit import Fit
from kenspeckle.data.read import read_image
from kenspeckle.data.source import File
from kenspeckle.training.loop import TrainingDiverged
from kenspeckle.trust import report as report_module
from kenspeckle.verbs import record
from kenspeckle.verbs.train import train

TINY = {"model": "seed-cnn", "training.epochs": 3, "training.precision": "float32"}
RATE = 1e8  # at which the network's numbers overflow


class Page(HTMLParser):
    """What a page shows: its words, its images and whether each tag is closed."""

    VOID = ("meta", "link", "img", "br", "hr", "input", "rect", "path", "line", "circle", "col")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words, self.images, self.open = "", [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        self.words += data

    def said(self) -> str:
        assert self.open == []
        return " ".join(self.words.split())


def report_of(run: Path) -> dict:
    return json.loads((run / "report.json").read_text("utf-8"))


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_run_that_fails_leaves_a_report_that_says_so(ken, small, tmp_path):
    more = ("--model", "seed-cnn", "--lr", RATE, "--project", tmp_path, "-q")
    complaint = ken("train", small, *more).refused(1)
    run = tmp_path / "exp"
    said = Page(run / "report.html").said()
    assert "This run stopped half-way." in said
    assert " ".join(complaint.split()) in said
    assert report_of(run)["failed"] == f"This run failed. {complaint}"
    assert not (run / "weights").exists()


def test_a_failed_report_tells_of_the_images(ken, small, tmp_path):
    more = ("--model", "seed-cnn", "--lr", RATE, "--project", tmp_path, "-q")
    ken("train", small, *more).refused(1)
    report = report_of(tmp_path / "exp")
    assert report["data"]["classes"] == {"circle": 12, "square": 12}
    assert report["model"] == {"name": "seed-cnn", "frozen": False}
    said = Page(tmp_path / "exp" / "report.html").said()
    assert "24 images" in said
    assert "seed-cnn" in said


def test_a_failure_is_handed_on(small, tmp_path, own_cache):
    with pytest.raises(TrainingDiverged):
        train(small, settings={**TINY, "training.learning_rate": RATE}, folder=new(tmp_path / "a"))


def test_a_run_that_was_killed_leaves_a_report_that_says_how_to_go_on(
    small, tmp_path, own_cache, killed_after, killed
):
    run = new(tmp_path / "run")
    with pytest.raises(killed):
        train(small, settings=TINY, folder=run, tell=killed_after(1))
    said = Page(run / "report.html").said()
    assert "This run has not ended, or was stopped." in said
    assert f"ken train --resume {run}" in said
    assert "failed" in report_of(run)


def test_a_finished_run_takes_its_place(ken, small, tmp_path, own_cache, killed_after, killed):
    run = new(tmp_path / "run")
    with pytest.raises(killed):
        train(small, settings=TINY, folder=run, tell=killed_after(1))
    ken("train", "--resume", run, "-q").went_well()
    assert "failed" not in report_of(run)
    said = Page(run / "report.html").said()
    assert "stopped" not in said.split("Mistakes")[0]
    assert " ".join(report_of(run)["sentence"].split()) in said


def test_a_run_without_a_folder_writes_nothing(small, tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    train(small, settings={**TINY, "training.epochs": 1})
    assert list(tmp_path.iterdir()) == []


def test_the_report_says_whether_it_overfits(small_run):
    verdict = report_of(small_run)["overfitting"]
    assert verdict["verdict"]
    assert verdict["words"]
    words = " ".join(verdict["words"].split())
    assert words in Page(small_run / "report.html").said()


def test_features_too_are_judged_for_overfitting(ken, drawn, tmp_path):
    folder = drawn(tmp_path / "photos", side=28, circle=6, square=6)
    more = ("--set", "head=lda", "--imgsz", "64", "--project", tmp_path, "-q")
    ken("train", folder, *more).went_well()
    assert report_of(tmp_path / "exp")["overfitting"]["words"]


@pytest.fixture
def written(small, tmp_path, own_cache, monkeypatch):
    """A finished run with its report, and the pictures and heats that its page was given."""
    given = {}

    def noted(folder, report, pictures, heats):
        given.update(report=report, pictures=pictures, heats=heats)
        report_module.write_report(folder, report, pictures, heats)

    monkeypatch.setattr(record, "write_report", noted)
    settings = {**TINY, "data.test_share": 0.5, "training.learning_rate": 1e-3}
    train(small, settings=settings, folder=new(tmp_path / "run"))
    return tmp_path / "run", given


def test_mistakes_and_the_best_have_pictures_and_heats(written):
    _, given = written
    report = given["report"]
    assert report["mistakes"]
    assert report["best"]
    for row in [*report["mistakes"], *report["best"]]:
        assert given["pictures"][row["path"]].shape[:2] == (28, 28)
        heat = given["heats"][row["path"]]
        assert heat.shape == (28, 28)
        assert heat.min() >= 0
        assert heat.max() <= 1
        assert len(row["nearest"]) == record.NEAREST
        assert set(row["nearest"]) <= set(given["pictures"])


def test_the_nearest_are_training_images_and_never_itself(written):
    run, given = written
    rows = [line.split(",") for line in (run / "split.csv").read_text("utf-8").splitlines()]
    where = rows[0].index("split")
    trained = {row[0] for row in rows[1:] if row[where] == "train"}
    for row in [*given["report"]["mistakes"], *given["report"]["best"]]:
        assert row["path"] not in row["nearest"]
        assert set(row["nearest"]) <= trained


def test_the_page_holds_them(written):
    run, given = written
    page = Page(run / "report.html")
    assert page.said()
    report = given["report"]
    shown = [*report["mistakes"], *report["best"]]
    alts = [image["alt"] for image in page.images]
    hot = [row for row in shown if given["heats"][row["path"]].any()]
    assert hot
    assert len([alt for alt in alts if alt.startswith("Where it looked for")]) == len(hot)
    assert len([alt for alt in alts if alt.startswith("Image of")]) == len(shown)
    near = sum(len(row["nearest"]) for row in shown)
    assert len([alt for alt in alts if alt.startswith("Training image")]) == near
    assert all(image["src"].startswith("data:image/") for image in page.images)


def test_the_picture_is_of_its_own_image(written, small):
    _, given = written
    for row in given["report"]["mistakes"]:
        path = row["path"]
        pixels = read_image(File(small / path), Fit(28)).pixels
        assert np.array_equal(given["pictures"][path], pixels), path


def test_sequences_have_no_pictures(ken, tmp_path):
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        (tmp_path / "waves" / name).mkdir(parents=True)
        for i in range(8):
            np.save(tmp_path / "waves" / name / f"{i}.npy", random.normal(size=(5, 2)))
    ken("train", tmp_path / "waves", "--epochs", "1", "--project", tmp_path, "-q").went_well()
    assert Page(tmp_path / "exp" / "report.html").images == []
    assert report_of(tmp_path / "exp")["thing"] == "sequence"
