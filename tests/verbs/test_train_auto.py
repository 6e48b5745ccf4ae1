"""`--model auto` names a winner only where there is one, and tells of all that took part."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.verbs import train_auto
from kenspeckle.verbs.train import train
from kenspeckle.verbs.train_auto import CANDIDATES, Contest, judged


def contest(name: str, right: list[float] | np.ndarray) -> Contest:
    right = np.asarray(right, dtype=float)
    losses = -np.log(right)
    return Contest(name, right, float(losses.mean()), float((right > 0.5).mean()), 1.0)


def near(level: float, seed: int, count: int = 60) -> np.ndarray:
    return level + 0.05 * np.random.default_rng(seed).uniform(-1, 1, count)


def test_a_clear_winner_is_named():
    taken, words, _ = judged(
        [contest("a", near(0.5, 0)), contest("b", near(0.9, 1)), contest("c", near(0.6, 2))]
    )
    assert taken.name == "b"
    assert words == "b is better than the others beyond noise"


def test_of_equals_the_first_in_the_order_of_preference_is_taken():
    same = near(0.7, 0)
    taken, words, _ = judged([contest("a", same), contest("b", same), contest("c", same)])
    assert taken.name == "a"
    assert words == "a is taken; it cannot be told from b, c on these images"


def test_noise_does_not_make_a_winner():
    random = np.random.default_rng(0)
    first = random.uniform(0.1, 0.9, 40)
    second = np.clip(first + random.normal(0.01, 0.2, 40), 0.01, 0.99)
    assert second.mean() > first.mean()
    taken, words, _ = judged([contest("first", first), contest("second", second)])
    assert taken.name == "first"
    assert "cannot be told from second" in words


def test_one_that_is_worse_beyond_noise_is_not_among_the_equals():
    same = near(0.8, 0)
    bad = contest("bad", near(0.3, 1))
    taken, words, _ = judged([bad, contest("one", same), contest("other", same)])
    assert taken.name == "one"
    assert "bad" not in words


def test_gains_are_against_the_one_that_is_taken():
    first, second, third = (near(level, k) for k, level in enumerate((0.5, 0.9, 0.6)))
    _, _, gains = judged([contest("a", first), contest("b", second), contest("c", third)])
    assert set(gains) == {"a", "c"}
    assert gains["a"].value == pytest.approx((first - second).mean())
    assert gains["c"].high < 0


def test_one_candidate_wins_alone():
    taken, _, gains = judged([contest("a", near(0.5, 0))])
    assert (taken.name, gains) == ("a", {})


@given(st.lists(st.integers(0, 5), min_size=2, max_size=4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_nobody_is_better_than_the_one_taken_beyond_noise(levels, seed):
    random = np.random.default_rng(seed)
    contests = [
        contest(str(k), random.uniform(0.05, 0.5, 12) + level / 12)
        for k, level in enumerate(levels)
    ]
    taken, words, gains = judged(contests)
    assert taken.name in words
    best = max(contests, key=lambda c: c.right.mean())
    assert best is taken or gains[best.name].low <= 0


def test_pairs_of_strings_have_no_candidates(ken, tmp_path):
    lines = [f"{n}\t{n}" for n in range(100, 160)]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    more = ("--task", "translate", "--model", "auto", "--project", tmp_path, "-q")
    words = ken("train", tmp_path / "pairs.tsv", *more).refused(2)
    assert "--model auto compares networks over images or sequences" in words


def check_report(report: dict, names: tuple[str, ...]) -> None:
    """A row a network, one of them chosen, the verdict in words."""
    rows = {row["name"]: row for row in report["tried"]}
    assert tuple(rows) == names
    (chosen,) = [row for row in rows.values() if row["chosen"]]
    assert chosen["name"] == report["model"]["name"]
    assert "gain" not in chosen
    for row in rows.values():
        assert 0 <= row["accuracy"] <= 1
        assert row["seconds"] > 0
        assert row["chosen"] or row["gain"]["low"] <= row["gain"]["value"] <= row["gain"]["high"]
    verdict = report["split"]["notes"][-1]
    assert chosen["name"] in verdict
    assert "better than the others" in verdict or "cannot be told from" in verdict


def test_the_winner_of_two_is_trained_and_told_of(drawn, tmp_path, monkeypatch, own_cache):
    folder = drawn(tmp_path / "photos", side=28, circle=12, square=12)
    monkeypatch.setattr(train_auto, "FOLDS", 2)
    monkeypatch.setitem(CANDIDATES, "images", ("cnn-tiny", "seed-cnn"))
    told = []
    (tmp_path / "run").mkdir()
    model = train(
        folder,
        settings={"model": "auto", "training.augment": []},
        budget="3s",
        folder=tmp_path / "run",
        tell=told.append,
    )
    check_report(model.bundle.report, ("cnn-tiny", "seed-cnn"))
    words = [stage.words for stage in told if stage.name == "comparing" and stage.words]
    assert words[0].startswith("2 networks, 2 folds, ")
    assert words[-1] == model.bundle.report["split"]["notes"][-1]
    recipe = yaml.safe_load((tmp_path / "run" / "args.yaml").read_text("utf-8"))
    assert recipe["model"] == model.bundle.report["model"]["name"]


def test_the_images_for_the_test_take_no_part_in_the_comparison(
    drawn, tmp_path, monkeypatch, own_cache
):
    folder = drawn(tmp_path / "photos", side=28, circle=12, square=12)
    monkeypatch.setattr(train_auto, "FOLDS", 2)
    monkeypatch.setitem(CANDIDATES, "images", ("cnn-tiny", "seed-cnn"))
    learned: list[set[str]] = []
    by_loop = train_auto.trained

    def noted(prepared, recipe, rows, tune_rows):
        samples = prepared.used.samples
        learned.append({samples[row].path for row in [*rows, *tune_rows]})
        return by_loop(prepared, recipe, rows, tune_rows)

    monkeypatch.setattr(train_auto, "trained", noted)
    asked = {"model": "auto", "training.augment": [], "training.budget_seconds": 2.0}
    model = train(folder, settings=asked)
    tested = {row["path"] for row in model.bundle.report["mistakes"]}
    tested |= {row["path"] for row in model.bundle.report["best"]}
    assert len(learned) == 4
    assert tested
    assert not any(tested & paths for paths in learned)


@pytest.mark.slow
def test_all_candidates_for_images_keep_a_budget(ken, drawn, tmp_path):
    folder = drawn(tmp_path / "photos", side=28, circle=24, cross=24, square=24)
    began = time.perf_counter()
    more = ("--model", "auto", "--budget", "40s", "--project", tmp_path, "-q")
    ken("train", folder, *more).went_well()
    assert time.perf_counter() - began < 80
    check_report(report_of(tmp_path / "exp"), CANDIDATES["images"])
    assert "better than the others" in (tmp_path / "exp" / "report.html").read_text("utf-8") or (
        "cannot be told from" in (tmp_path / "exp" / "report.html").read_text("utf-8")
    )


@pytest.mark.slow
def test_all_candidates_for_sequences(ken, tmp_path):
    folder, random = tmp_path / "waves", np.random.default_rng(0)
    for name, way in (("rising", 1), ("falling", -1)):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            steps = way * np.linspace(-1, 1, random.integers(8, 20))[:, None]
            np.save(folder / name / f"{i}.npy", steps + random.normal(0, 0.3, steps.shape))
    more = ("--model", "auto", "--budget", "20s", "--project", tmp_path, "-q")
    ken("train", folder, *more).went_well()
    check_report(report_of(tmp_path / "exp"), CANDIDATES["sequences"])


def report_of(run: Path) -> dict:
    return json.loads((run / "report.json").read_text("utf-8"))
