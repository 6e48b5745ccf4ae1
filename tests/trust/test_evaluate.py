"""Out-of-fold means what it says, and a choice is made by being right."""

from __future__ import annotations

import numpy as np
import pytest

from kenspeckle.trust.evaluate import Trial, choose, compare, out_of_fold

TARGETS = np.array([0, 1, 0, 1, 1, 0])
FOLDS = np.array([0, 0, 1, 1, 2, 2])


def test_no_row_is_answered_by_what_learned_from_it():
    asked = []

    def fit(learn, ask):
        assert not set(learn) & set(ask)
        assert set(learn) | set(ask) == set(range(6))
        assert len({FOLDS[i] for i in ask}) == 1
        asked.extend(ask.tolist())
        return np.zeros((len(ask), 2))

    out_of_fold(fit, TARGETS, FOLDS)
    assert sorted(asked) == list(range(6))


def test_every_answer_lands_in_its_own_row():
    found = out_of_fold(lambda learn, ask: np.stack([ask, -ask], 1).astype(float), TARGETS, FOLDS)
    assert np.array_equal(found, np.stack([np.arange(6), -np.arange(6)], 1))


def test_who_peeks_at_targets_is_right_and_who_guesses_is_not():
    def knows(learn, ask):
        return np.eye(2)[TARGETS[ask]] * 5

    def guesses(learn, ask):
        return np.tile([0.0, 1.0], (len(ask), 1))

    trials = {t.name: t for t in compare({"knows": knows, "guesses": guesses}, TARGETS, FOLDS)}
    assert trials["knows"].accuracy == 1
    assert trials["guesses"].accuracy == 0.5
    assert trials["knows"].losses.mean() < trials["guesses"].losses.mean()


def test_scale_of_logits_does_not_matter_to_the_comparison():
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(60, 3)), random.integers(0, 3, 60)
    logits[np.arange(60), targets] += 1
    folds = np.arange(60) % 5
    one, ten = compare(
        {"one": lambda _, ask: logits[ask], "ten": lambda _, ask: 10 * logits[ask]}, targets, folds
    )
    assert one.losses == pytest.approx(ten.losses, rel=1e-3)


def trial(name: str, *probabilities: float) -> Trial:
    """One that gave the right class these probabilities."""
    return Trial(name, np.zeros((2, 2)), -np.log(probabilities), 0.5)


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        ([trial("a", 0.6, 0.6), trial("b", 0.7, 0.7)], "b"),
        # one image that is badly wrong costs a head one image, not the choice
        ([trial("a", 0.6, 0.6), trial("b", 1e-9, 1.0, 1.0)], "b"),
        ([trial("a", 0.5, 0.7), trial("b", 0.7, 0.5)], "a"),
    ],
)
def test_the_right_class_being_likeliest_chooses_then_the_order(trials, best):
    assert choose(trials).name == best
