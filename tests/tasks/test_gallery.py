"""A gallery names whoever is nearest or nobody, forgets whom it must, and refuses damaged parts."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.errors import DataError, MissingExtra, UsageError
from kenspeckle.tasks import gallery as module
from kenspeckle.tasks.gallery import Gallery, verify


def on_circle(*degrees: float) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


@pytest.fixture
def gallery() -> Gallery:
    """Anna at 0 and 10 degrees, Beth at 90, Carl at 180."""
    return (
        Gallery()
        .enrolled("anna", on_circle(0, 10), ["a0.jpg", "a1.jpg"])
        .enrolled("beth", on_circle(90), ["b.jpg"])
        .enrolled("carl", on_circle(180), ["c.jpg"])
    )


def crowd(people: int, images: int, seed: int = 0) -> tuple[Gallery, np.ndarray]:
    """A gallery of random people enrolled in a mixed order, and images to ask about."""
    random = np.random.default_rng(seed)
    made = Gallery()
    for i in random.permutation(np.repeat(np.arange(people), images)):
        made = made.enrolled(f"p{i}", random.normal(size=(1, 6)), [f"{len(made.names)}.jpg"])
    return made, random.normal(size=(20, 6))


def test_the_nearest_person_is_named_with_the_nearest_image_of_theirs(gallery):
    (found,) = gallery.identify(on_circle(12), 0.9)
    assert found.name == "anna"
    (match,) = found.matches
    assert match.path == "a1.jpg"
    assert match.similarity == pytest.approx(math.cos(math.radians(2)), abs=1e-6)


def test_below_the_threshold_is_nobody_but_the_nearest_is_told(gallery):
    (found,) = gallery.identify(on_circle(135), 0.9)
    assert found.name is None
    assert found.matches == ()
    assert found.nearest.name in ("beth", "carl")
    assert not found.is_doubtful


def test_a_person_is_told_once_and_the_most_similar_first(gallery):
    (found,) = gallery.identify(on_circle(40), -1.0)
    assert [match.name for match in found.matches] == ["anna", "beth", "carl"]
    (found,) = gallery.identify(on_circle(40), -1.0, most=2)
    assert [match.name for match in found.matches] == ["anna", "beth"]


def test_two_who_are_nearly_equal_are_both_told():
    made = Gallery().enrolled("anna", on_circle(30), ["a"]).enrolled("twin", on_circle(30.5), ["t"])
    (found,) = made.enrolled("carl", on_circle(180), ["c"]).identify(on_circle(30), 0.5, most=1)
    assert [match.name for match in found.matches] == ["anna", "twin"]
    assert found.is_doubtful


def test_one_who_is_clearly_nearest_is_not_doubtful(gallery):
    (found,) = gallery.identify(on_circle(5), -1.0)
    assert len(found.matches) == 3
    assert not found.is_doubtful


def test_equally_similar_people_come_in_the_order_of_enrolling():
    for names in (["anna", "beth"], ["beth", "anna"]):
        made = Gallery()
        for name in names:
            made = made.enrolled(name, on_circle(0), ["x"])
        (found,) = made.identify(on_circle(0), 0.5)
        assert [match.name for match in found.matches] == names


def test_nobody_is_in_an_empty_gallery():
    assert Gallery().people == ()
    for found in Gallery().identify(on_circle(0, 90), -1.0):
        assert (found.name, found.nearest, found.is_doubtful) == (None, None, False)


def test_nothing_asked_is_nothing_answered(gallery):
    assert gallery.identify(np.zeros((0, 2)), 0.5) == []


def test_a_gallery_of_one_knows_one():
    made = Gallery().enrolled("anna", on_circle(0), ["a"])
    one, other = made.identify(on_circle(1, 90), 0.5)
    assert (one.name, other.name) == ("anna", None)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 100), st.integers(1, 9))
def test_answers_are_those_of_looking_at_every_image_by_hand(people, images, seed, most):
    made, asked = crowd(people, images, seed)
    for vector, found in zip(asked, made.identify(asked, 0.2, most), strict=True):
        best: dict[str, float] = {}
        for name, enrolled in zip(made.names, made.vectors, strict=True):
            cosine = float(vector @ enrolled / np.linalg.norm(vector))
            best[name] = max(best.get(name, -2.0), cosine)
        ranked = sorted((name for name in best if best[name] >= 0.2), key=lambda n: -best[n])
        assert [m.name for m in found.matches][:most] == ranked[:most]
        assert [m.similarity for m in found.matches] == pytest.approx(
            [best[m.name] for m in found.matches], abs=1e-5
        )


def test_many_in_blocks_are_as_one_by_one(monkeypatch):
    made, asked = crowd(5, 3)
    together = made.identify(asked, 0.3)
    monkeypatch.setattr(module, "AT_ONCE", 40)  # two queries a block
    assert [f.name for f in made.identify(asked, 0.3)] == [f.name for f in together]


def test_enrolling_changes_the_new_gallery_only(gallery):
    more = gallery.enrolled("anna", on_circle(20), ["a2.jpg"])
    assert (len(gallery.names), len(more.names)) == (4, 5)
    assert more.people == ("anna", "beth", "carl")
    assert more.identify(on_circle(20), 0.9)[0].nearest.path == "a2.jpg"


def test_enrolled_vectors_have_length_one():
    made = Gallery().enrolled("anna", np.array([[30.0, 40.0]]), ["a"])
    assert made.vectors == pytest.approx(np.array([[0.6, 0.8]]))
    assert made.vectors.dtype == np.float32


def test_removing_leaves_no_trace(gallery):
    left = gallery.removed("anna")
    assert left.people == ("beth", "carl")
    assert left.vectors.shape == (2, 2)
    assert not np.shares_memory(left.vectors, gallery.vectors)
    assert left.vectors.base is None
    assert "anna" not in left.names
    assert left.paths == ("b.jpg", "c.jpg")
    assert left.identify(on_circle(0), 0.9)[0].name is None


def test_enrolling_and_removing_gives_what_was_before(gallery):
    again = gallery.enrolled("dora", on_circle(270), ["d"]).removed("dora")
    assert (again.names, again.paths) == (gallery.names, gallery.paths)
    assert np.array_equal(again.vectors, gallery.vectors)


def test_the_last_one_can_be_removed_and_another_kind_enrolled():
    made = Gallery().enrolled("anna", on_circle(0), ["a"]).removed("anna")
    assert made.people == ()
    assert made.enrolled("beth", np.eye(5)[:1], ["b"]).people == ("beth",)


def test_removing_a_stranger_names_the_nearest(gallery):
    with pytest.raises(UsageError, match=r"'ana' is enrolled, did you mean 'anna'\? 3 people are"):
        gallery.removed("ana")
    with pytest.raises(UsageError, match=r"enrolled\. 0 people are"):
        Gallery().removed("anna")


@pytest.mark.parametrize("bad", [np.zeros((1, 2)), np.array([[np.nan, 1]]), [[np.inf, 1.0]]])
def test_a_vector_without_a_direction_is_refused(gallery, bad):
    with pytest.raises(DataError, match="image 1 is zero or not finite"):
        gallery.enrolled("dora", np.array(bad), ["d"])
    with pytest.raises(DataError):
        gallery.identify(np.array(bad), 0.5)
    with pytest.raises(DataError):
        verify(np.array(bad)[0], np.array([1.0, 0.0]), 0.5)


def test_vectors_of_another_model_are_refused(gallery):
    with pytest.raises(DataError, match="made by another model"):
        gallery.identify(np.eye(3), 0.5)
    with pytest.raises(DataError, match="made by another model"):
        gallery.enrolled("dora", np.eye(3), ["1", "2", "3"])


def test_nobody_is_enrolled_without_name_or_image(gallery):
    with pytest.raises(UsageError):
        gallery.enrolled("  ", on_circle(0), ["x"])
    with pytest.raises(DataError):
        gallery.enrolled("dora", np.zeros((0, 2)), [])


@pytest.mark.parametrize("degrees", [0, 59, 61, 180])
def test_two_images_are_verified_by_their_cosine(degrees):
    a, b = on_circle(0, degrees) * [[3.0], [0.1]]
    there, back = verify(a, b, 0.5), verify(b, a, 0.5)
    assert there == back
    assert there.similarity == pytest.approx(math.cos(math.radians(degrees)), abs=1e-6)
    assert there.same == (degrees < 60)


def test_an_image_is_not_compared_with_what_is_left_out(gallery):
    own = [[0], [0, 1], [2]]
    found = gallery.identify(on_circle(0, 0, 90), 0.5, without=own)
    assert [one.name for one in found] == ["anna", None, None]
    assert found[0].matches[0].path == "a1.jpg"
    assert found[1].nearest.name == "beth"


def test_leaving_nothing_out_changes_nothing():
    made, asked = crowd(7, 3)
    everything = made.identify(asked, 0.2, without=[[] for _ in asked])
    assert everything == made.identify(asked, 0.2)


def test_large_galleries_need_the_package(monkeypatch):
    made, asked = crowd(4, 2)
    monkeypatch.setattr(module, "NUMPY_MOST", 7)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtra, match=r"kenspeckle\[gallery\]"):
        made.identify(asked, 0.3)


def test_large_galleries_are_searched_with_the_same_answers(monkeypatch):
    pytest.importorskip("usearch.index")
    made, asked = crowd(30, 10)
    by_numpy = made.identify(asked, 0.3)
    monkeypatch.setattr(module, "NUMPY_MOST", 10)
    monkeypatch.setattr(module, "CANDIDATES", 2)  # too few: more are asked for
    by_index = made.identify(asked, 0.3)
    for one, other in zip(by_numpy, by_index, strict=True):
        assert [m.name for m in one.matches] == [m.name for m in other.matches]
        assert [m.path for m in one.matches] == [m.path for m in other.matches]
