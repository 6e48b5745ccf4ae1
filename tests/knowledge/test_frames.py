"""Rules for frames: what they allow, what a clip's ends excuse, and decoding under them."""

from __future__ import annotations

import itertools

import pytest
import torch

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import from_pattern, product
from kenspeckle.knowledge.frames import frames, unreachable
from kenspeckle.knowledge.scan import best

NAMES = ("egg", "larva", "pupa", "stone")
ORDER = ("egg", "larva", "pupa")
RULES = [
    {"order": ORDER},
    {"never_follows": [("egg", "stone"), ("pupa", "pupa")]},
    {"lasts_at_least": {"larva": 3, "stone": 2}},
    {"order": ORDER, "never_follows": [("egg", "pupa")], "lasts_at_least": {"larva": 2, "egg": 1}},
]


def obeys(clip, order=(), never_follows=(), lasts_at_least=None) -> bool:
    """The same by looking at the whole clip."""
    places = [order.index(name) for name in clip if name in order]
    runs = [(name, len(list(run))) for name, run in itertools.groupby(clip)]
    return (
        places == sorted(places)
        and not set(itertools.pairwise(clip)) & set(never_follows)
        and all(count >= (lasts_at_least or {}).get(name, 1) for name, count in runs[1:-1])
    )


@pytest.mark.parametrize("rules", RULES)
def test_frames_are_allowed_as_the_whole_clip_says(rules):
    automaton = frames(NAMES, **rules)
    for length in range(7):
        for clip in itertools.product(NAMES, repeat=length):
            assert automaton.accepts(clip) == obeys(clip, **rules), clip


@pytest.mark.parametrize("rules", RULES)
def test_every_part_of_an_allowed_clip_is_allowed(rules):
    automaton = frames(NAMES, **rules)
    for clip in itertools.product(NAMES, repeat=6):
        if automaton.accepts(clip):
            assert automaton.accepts(clip[1:])
            assert automaton.accepts(clip[:-1])


def test_a_run_that_touches_an_end_may_be_shorter():
    green = frames(["red", "green"], lasts_at_least={"green": 3})
    accepts = green.accepts
    assert accepts(["green", "red"])
    assert accepts(["red", "green"])
    assert accepts(["green"])
    assert not accepts(["red", "green", "green", "red"])
    assert accepts(["red", "green", "green", "green", "red"])


def test_without_rules_everything_goes():
    assert len(frames(NAMES).table) == 1


def test_a_name_that_no_clip_can_show_is_found():
    only_young = from_pattern("(egg|larva)*", NAMES)
    assert unreachable(frames(NAMES, order=ORDER)) == []
    assert unreachable(product(frames(NAMES, order=ORDER), only_young)) == ["pupa", "stone"]


def test_decoding_under_rules_removes_a_flicker():
    names = ("red", "green")
    said = torch.tensor([0.9, 0.9, 0.45, 0.9, 0.9, 0.2, 0.1, 0.3])
    log_p = torch.stack([said, 1 - said], 1).log()[None]
    rules = frames(names, lasts_at_least={"green": 2, "red": 2})
    symbols, _ = best(log_p, torch.tensor([8]), rules)
    assert symbols.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({"order": ["egg", "lava"]}, "did you mean 'larva'"),
        ({"never_follows": [("egg", "bird")]}, "no state 'bird'"),
        ({"lasts_at_least": {"eg": 2}}, "did you mean 'egg'"),
        ({"order": ["egg", "pupa", "egg"]}, "'egg' is twice"),
        ({"lasts_at_least": {"egg": 0}}, "say 1 or more"),
        ({"lasts_at_least": {"egg": 3000, "pupa": 3000}}, "more than 5000 states"),
    ],
)
def test_a_rule_that_is_none_is_refused_in_words(rules, found):
    with pytest.raises(UsageError, match=found):
        frames(NAMES, **rules)
