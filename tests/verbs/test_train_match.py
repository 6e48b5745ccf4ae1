"""Nobody is learned from and measured at once; training is kept only where it wins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import File
from kenspeckle.errors import DataError, UsageError
from kenspeckle.models.margin import MarginHead
from kenspeckle.recipe import Recipe
from kenspeckle.verbs import train_match as module
from kenspeckle.verbs.match_parts import People, parts_of_people
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.train import train


def prepared(*images: str, groups=None, keys=None) -> Prepared:
    """Images named `who` or `who@part`, in this order; groups and keys may join some."""
    samples = []
    for i, text in enumerate(images):
        name, _, part = text.partition("@")
        samples.append(Sample(f"{i}.png", File(Path(f"{i}.png")), name, split=part or None))
    names = tuple(sorted({sample.label for sample in samples}))
    rows = np.arange(len(samples))
    return Prepared(
        Dataset(Path("data"), tuple(samples), names),
        (),
        rows,
        torch.zeros(len(samples), 1),
        [str(k).encode() for k in (rows if keys is None else keys)],
        rows if groups is None else np.array(groups),
        (),
    )


def divided(given: Prepared, share: float = 0.3, seed: int = 0):
    recipe = Recipe(task="match").changed({"data.test_share": share, "data.seed": seed})
    people = People.on(given)
    return people, *parts_of_people(given, people, recipe)


def crowd(people: int, images: int) -> list[str]:
    return [f"p{k}" for k in range(people) for _ in range(images)]


@pytest.mark.parametrize("seed", range(5))
def test_whole_people_are_held_out_and_every_image_is_somewhere(seed):
    people, parts, measured = divided(prepared(*crowd(10, 4)), 0.3, seed)
    learned, tested = set(people.of[parts.train]), set(people.of[parts.test])
    assert not learned & tested
    assert (len(learned), len(tested)) == (7, 3)
    assert sorted([*parts.train, *parts.test]) == [*range(40)]
    assert measured.tolist() == parts.test.tolist()


def test_another_seed_holds_out_others():
    drawn = {tuple(divided(prepared(*crowd(12, 2)), 0.3, s)[1].test) for s in range(6)}
    assert len(drawn) > 1


def test_two_are_held_out_at_least_and_four_are_left():
    for people, expected in ((4, 0), (5, 0), (6, 2), (7, 2)):
        _, parts, measured = divided(prepared(*crowd(people, 3)), 0.1)
        assert len(parts.test) == len(measured) == 3 * expected
    _, parts, _ = divided(prepared(*crowd(6, 3)), 0.9)
    assert len(parts.test) == 6


def test_few_people_are_learned_from_without_a_score_and_that_is_said():
    _, parts, measured = divided(prepared(*crowd(5, 3)))
    assert (len(parts.train), len(measured)) == (15, 0)
    assert "nothing was measured" in parts.notes[0]


def test_who_shares_a_group_is_on_the_same_side():
    groups = [0, 1, 2, 3, 0, *range(5, 24)]  # p0 and p1 share group 0
    for seed in range(8):
        people, parts, _ = divided(prepared(*crowd(6, 4), groups=groups), 0.4, seed)
        assert (0 in people.of[parts.test]) == (1 in people.of[parts.test])


def test_whoever_has_one_image_is_learned_from():
    for seed in range(8):
        people, parts, _ = divided(prepared(*crowd(6, 3), "lone1", "lone2"), 0.4, seed)
        assert {people.names[k] for k in people.of[parts.train]} >= {"lone1", "lone2"}


def test_two_copies_of_a_file_are_one_image():
    keys = [0, 0, *range(2, 18)]
    given = prepared(*crowd(6, 3), groups=keys, keys=keys)
    for seed in range(12):
        people, parts, measured = divided(given, 0.4, seed)
        if 0 in people.of[parts.test]:
            assert measured.tolist().count(0) + measured.tolist().count(1) == 1
    assert People.on(prepared("a", "a", keys=[0, 0])).several(np.arange(2)).tolist() == [False]


def test_the_owners_test_part_is_kept_and_its_people_are_not_learned_from():
    given = prepared(*crowd(5, 2), "q1@test", "q1@test", "q2@test", "q2@test", "q1@train")
    people, parts, measured = divided(given)
    assert parts.test.tolist() == measured.tolist() == [10, 11, 12, 13]
    assert parts.dropped.tolist() == [14]
    assert set(people.of[parts.train]) == set(range(5))
    assert "1 images left out of training" in parts.notes[0]


def test_val_is_learned_from():
    given = prepared(*crowd(4, 2), "v@val", "v@val", "t1@test", "t1@test", "t2@test", "t2@test")
    people, parts, _ = divided(given)
    assert people.names.index("v") in people.of[parts.train]
    assert len(parts.val) == 0


def test_parts_with_everybody_in_both_are_refused():
    images = [f"p{k}@{part}" for k in range(6) for part in ("train", "test", "test")]
    with pytest.raises(DataError, match="without parts"):
        divided(prepared(*images))


def test_a_test_part_of_one_person_measures_nothing():
    _, parts, measured = divided(prepared(*crowd(5, 2), "t@test", "t@test"))
    assert (len(parts.test), len(measured)) == (2, 0)


def test_too_few_people_are_refused():
    with pytest.raises(DataError, match="from 4 of them or more, and data has 3"):
        divided(prepared(*crowd(3, 5)))


def test_one_image_each_is_refused():
    with pytest.raises(DataError, match="second images"):
        divided(prepared(*crowd(8, 1)))


def test_people_who_all_belong_together_are_refused():
    with pytest.raises(DataError, match="groups"):
        divided(prepared(*crowd(6, 2), groups=[0] * 12))


def badges(folder: Path, people: int = 7, images: int = 4) -> Path:
    """Badges of sixteen coloured fields, photographed several times, moved and dimmed."""
    random = np.random.default_rng(0)
    for k in range(people):
        (folder / f"badge {k}").mkdir(parents=True)
        fields = random.integers(0, 255, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
        for i in range(images):
            pixels = np.roll(fields, random.integers(-2, 3, 2), (0, 1)) * random.uniform(0.8, 1)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"badge {k}" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return badges(tmp_path_factory.mktemp("match") / "badges")


def ran(data: Path, **settings):
    """The model and what was said on the way."""
    said: list[str] = []
    chosen = {"task": "match", "training.epochs": 3, "data.folds": 3, **settings}
    model = train(data, settings=chosen, tell=lambda stage: said.append(stage.words))
    return model, " ".join(said)


@pytest.mark.usefixtures("own_cache")
def test_a_run_measures_people_never_seen_and_enrols_everybody(data):
    model, said = ran(data)
    report = model.bundle.report
    assert "5 people, places or things are learned from, 2 are held out" in said
    assert (report["split"]["train"], report["split"]["test"], report["people"]) == (20, 8, 2)
    assert len(model.task.gallery.people) == 7
    assert len(model.bundle.config.paths) == 28
    assert model.classes == tuple(f"badge {k}" for k in range(7))
    assert "consent" in model.bundle.card
    assert report["unknown"] is None
    assert model.network.head.directions.shape[0] == 0


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(("shift", "kept"), [(5.0, False), (0.0, True)])
def test_training_is_kept_only_where_it_wins(data, monkeypatch, shift, kept):
    """Training is made worse, by a bias that drowns all differences, or better than a bad start."""
    start = MarginHead.start_from
    refined = module._refine

    def bad_start(head, vectors, targets):
        start(head, vectors, targets)
        with torch.no_grad():
            head.embedding.bias += 0.0 if shift else 5.0

    def then(head, seen, task, people, rows, training):
        refined(head, seen, task, people, rows, training)
        with torch.no_grad():
            head.embedding.bias += shift if shift else -5.0

    monkeypatch.setattr(MarginHead, "start_from", bad_start)
    monkeypatch.setattr(module, "_refine", then)
    _, said = ran(data)
    assert ("so it was kept" in said) == kept
    assert ("what it started from was kept" in said) != kept


@pytest.mark.usefixtures("own_cache")
def test_a_rate_that_pairs_cannot_show_is_raised_and_said(data):
    model, said = ran(data, false_accepts=1e-4)
    assert "cannot show a false-accept rate below" in said
    resolved = model.bundle.config.recipe["false_accepts"]
    assert 1e-4 < resolved < 0.1
    assert len(model.task.limits) == 1
    assert "too few to set a limit for more than 1 who are" in " ".join(
        model.bundle.report["split"]["notes"]
    )


@pytest.mark.usefixtures("own_cache")
def test_a_higher_rate_names_somebody_sooner(data):
    low, high = (ran(data, false_accepts=rate)[0].task.limits[0] for rate in (0.02, 0.3))
    assert high < low


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    "settings",
    [
        {"model": "auto"},
        {"freeze": False},
        {"finetune": True},
        {"model": "cnn"},
        {"head": "logistic"},
        {"training.mixup": 0.2},
        {"false_accepts": 0.0},
    ],
)
def test_what_it_cannot_heed_is_refused(data, settings):
    with pytest.raises(UsageError):
        ran(data, **settings)


@pytest.mark.usefixtures("own_cache")
def test_sequences_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match="about images"):
        ran(tmp_path)


@pytest.mark.parametrize("most", [2, 3, 5])
def test_every_two_images_are_compared_once_by_vectors_learned_from_neither(monkeypatch, most):
    people, met = People.on(prepared(*crowd(7, 3))), []

    def compared(learned, vectors, people, first, second):
        learned = set(people.of[learned])
        assert learned
        assert not learned & {*people.of[first], *people.of[second]}
        met.extend({*pair} for pair in {frozenset((i, j)) for i in first for j in second if i != j})
        return module.HeldOut(np.zeros(1), {})

    monkeypatch.setattr(module, "_start", lambda seen, task, people, rows: rows)
    monkeypatch.setattr(module, "_refine", lambda *_: None)
    monkeypatch.setattr(module, "_compared", compared)
    recipe = Recipe().changed({"data.folds": most})
    seen = SimpleNamespace(vectors=None)
    module._held_out(seen, None, people, np.arange(21), recipe, lambda stage: None)
    pairs = sorted(tuple(sorted(pair)) for pair in met)
    # Each is met by the start and by what was trained.
    assert pairs == sorted(2 * [(i, j) for i in range(21) for j in range(i + 1, 21)])
