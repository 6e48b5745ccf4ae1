"""A match names whoever is near enough or nobody, and is measured by comparing images alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.answer import Answer
from kenspeckle.errors import BundleError, DataError, EmptyDataset
from kenspeckle.models.margin import margin_loss
from kenspeckle.models.vectors import unit
from kenspeckle.tasks import match as module
from kenspeckle.tasks.match import Compared, Match
from kenspeckle.tasks.verification import limits_for, threshold_for, verification_scores


def on_circle(*degrees: float) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def knowing(*people: tuple[str, float], limits=(0.9,)) -> Match:
    """A task with people enrolled at an angle each."""
    task = Match((), limits=limits, size=2)
    names = [name for name, _ in people]
    task.remember(names, on_circle(*(turn for _, turn in people)), [f"{n}.jpg" for n in names])
    return task


def answer(task: Match, degrees: float) -> Answer:
    (found,) = task.decode(torch.from_numpy(on_circle(degrees)), ["new.jpg"])
    return found


def test_the_nearest_is_named_with_its_similarity():
    found = answer(knowing(("anna", 0), ("beth", 90)), 10)
    assert (found.label, found.unknown) == ("anna", False)
    assert found.words == "anna (similarity 0.98)"
    assert found.nearest == ("anna.jpg", "beth.jpg")
    assert 0 < found.distance < 1


def test_below_the_limit_is_nobody_who_is_known():
    found = answer(knowing(("anna", 0), ("beth", 180)), 60)
    assert (found.label, found.unknown) == (None, True)
    assert found.words == (
        "nobody that is enrolled (the nearest is anna, similarity 0.50; 0.90 is needed)"
    )
    assert found.distance == pytest.approx(0.5 / 0.1, rel=1e-4)


def test_two_who_are_nearly_equal_are_both_said():
    found = answer(knowing(("anna", 0), ("beth", 1)), 0)
    assert found.label == "anna"
    assert found.words == "anna (similarity 1.00) or beth (1.00): too alike to tell"


def test_an_empty_gallery_answers_nobody():
    found = answer(knowing(), 0)
    assert (found.label, found.unknown, found.distance) == (None, True, None)
    assert found.words == "nobody: no one is enrolled"


def test_the_limit_rises_with_those_who_are_enrolled():
    limits = (0.5, 0.7, 0.99)
    assert answer(knowing(("anna", 0), limits=limits), 50).label == "anna"
    assert answer(knowing(("anna", 0), ("beth", 180), limits=limits), 50).label is None
    three = knowing(("anna", 0), ("beth", 180), ("carl", 270), limits=limits)
    assert answer(three, 20).label is None
    assert three.limit(100) == 0.99


def test_its_classes_are_those_who_are_enrolled():
    assert knowing(("p10", 0), ("p2", 90), ("p10", 5)).classes == ("p2", "p10")
    assert knowing().classes == ()


def test_a_gallery_of_another_network_is_refused():
    with pytest.raises(BundleError, match="do not fit"):
        Match((), size=3).remember(["anna"], on_circle(0), ["a.jpg"])


def test_a_vector_is_no_part_of_what_is_told():
    found = answer(knowing(("anna", 0)), 0)
    assert "vector" not in json.loads(json.dumps(found.as_dict()))
    assert found == answer(knowing(("anna", 0)), 0)


def test_nobody_is_right_for_a_stranger_only():
    task = knowing(("anna", 0))
    assert task.is_right(answer(task, 0), "anna")
    assert not task.is_right(answer(task, 90), "anna")
    assert task.is_right(answer(task, 90), "beth")
    assert not task.is_right(answer(task, 0), "beth")


def answers(vectors: np.ndarray) -> list[Answer]:
    return [Compared(f"{i}.jpg", None, {}, "", vector=v) for i, v in enumerate(unit(vectors))]


def crowd(people: int, images: int, spread: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    middles = random.normal(size=(people, 8)).repeat(images, axis=0)
    vectors = middles + spread * random.normal(size=middles.shape)
    return vectors.astype(np.float32), [f"p{i // images}" for i in range(people * images)]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(2, 4), st.integers(0, 50))
def test_names_and_strangers_are_those_of_enrolling_by_hand(people, images, seed):
    vectors, names = crowd(people, images, 0.7, seed)
    task = Match((), limits=(0.3, 0.5, 0.7), size=8)
    named = strange = 0
    for i, (vector, name) in enumerate(zip(unit(vectors), names, strict=True)):
        for others, wanted in (
            ([j for j in range(len(names)) if j != i], "named"),
            ([j for j in range(len(names)) if names[j] != name], "strange"),
        ):
            task.remember([names[j] for j in others], vectors[others], [""] * len(others))
            (found,) = task.decode(torch.from_numpy(vector[None]), ["x"])
            named += wanted == "named" and found.label == name
            strange += wanted == "strange" and found.label is not None
    scores = task.score(answers(vectors), names)
    assert scores["named_score"].value == pytest.approx(named / len(names))
    assert scores["stranger_error"].value == pytest.approx(strange / len(names))


def test_the_scores_of_pairs_are_those_of_verification():
    vectors, names = crowd(5, 4, 0.5)
    scores = Match((), limits=(0.4,), size=8).score(answers(vectors), names)
    expected = verification_scores(vectors, names, threshold=0.4)
    assert {name: scores[name] for name in expected} == expected
    assert set(scores) <= set(Match.telling.titles)


def test_intervals_are_over_people_unless_groups_hold_several():
    vectors, names = crowd(6, 4, 0.5)
    task = Match((), size=8)
    by_image = task.score(answers(vectors), names, [str(i // 2) for i in range(24)])
    assert by_image["named_score"].n == by_image["roc_auc_score"].n == 6
    families = task.score(
        answers(vectors), names, ["x" if i in (0, 5) else str(i) for i in range(24)]
    )
    assert families["named_score"].n == families["roc_auc_score"].n == 5


def test_of_very_many_images_whole_people_are_measured(monkeypatch):
    monkeypatch.setattr(module, "MOST_MEASURED", 12)
    vectors, names = crowd(10, 4, 0.5)
    scores = Match((), size=8).score(answers(vectors), names)
    assert scores["roc_auc_score"].n == 3


def test_people_with_one_image_each_cannot_be_measured():
    vectors, names = crowd(5, 1, 0.5)
    with pytest.raises(EmptyDataset):
        Match((), size=8).score(answers(vectors), names)


def test_the_loss_is_the_margin_loss_of_cached_features():
    from kenspeckle.data.batch import Batch
    from kenspeckle.models.cnn import CNN
    from kenspeckle.tasks.task import Network

    task = Match((), widths=(4, 6), size=5)
    network = Network(CNN(), task.head(3))
    batch = Batch(
        torch.rand(4, 10), torch.tensor([0, 1, 2, 0]), torch.tensor([1.0, 1, 0, 2]), torch.arange(4)
    )
    logits = network.head.logits(batch.images)
    each = margin_loss(logits, batch.targets, network.head.margin, network.head.scale)
    expected = (each[0] + each[1] + 2 * each[3]) / 4
    assert torch.allclose(task.loss(network, batch, "head"), expected)
    assert dict(task.players(network)) == {"head": network.head}


def test_a_label_that_nobody_has_cannot_be_learned():
    assert Match(("anna", "beth")).collate(["beth", "anna"]).tolist() == [1, 0]
    with pytest.raises(DataError, match="'carl'"):
        Match(("anna", "beth")).collate(["carl"])


def test_a_model_file_holds_nobodys_direction():
    from kenspeckle.models.cnn import CNN

    head = Match(("anna", "beth"), widths=(4, 6), size=5).network(CNN()).head
    assert head.directions.shape == (0, 5)


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 400), st.floats(0.002, 0.5), st.integers(0, 99))
def test_limits_rise_and_accept_no_more_than_their_share(pairs, rate, seed):
    different = np.random.default_rng(seed).normal(size=pairs)
    limits = limits_for(different, rate)
    assert limits == sorted(limits)
    rate = max(rate, 1 / pairs)
    for power, limit in enumerate(limits):
        assert (different >= limit).mean() <= rate / 2**power + 1e-9
    assert limits[0] == threshold_for(different, rate)
    assert pairs * rate / 2 ** len(limits) < 1 + 1e-6
