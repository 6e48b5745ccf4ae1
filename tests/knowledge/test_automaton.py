"""Automata: patterns as Python reads them, intersections, and the fewest states."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import Automaton, anything, explored, from_pattern, product

DIGITS = "0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERS = "ab0- "

atoms = st.sampled_from(
    ["a", "b", "0", "-", " ", ".", "[ab]", "[^a]", r"\d", r"\w", r"[\D\S]", "[]a]", r"\-", r"\x61"]
)
counts = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,2}", "{2,}", "*?"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map("({})".format),
        st.tuples(inner.map("(?:{})".format), counts).map("".join),
    ),
    max_leaves=6,
)


def every_string(alphabet: str, longest: int):
    for length in range(longest + 1):
        yield from map("".join, itertools.product(alphabet, repeat=length))


@given(patterns)
@settings(max_examples=50, deadline=None)
def test_a_pattern_is_read_as_python_reads_it(pattern):
    ours, theirs = from_pattern(pattern, LETTERS), re.compile(pattern)
    for text in every_string(LETTERS, 4):
        assert ours.accepts(text) == bool(theirs.fullmatch(text)), text


@given(patterns, patterns)
@settings(max_examples=30, deadline=None)
def test_a_product_accepts_what_both_accept(one, other):
    a, b = from_pattern(one, "ab0"), from_pattern(other, "ab0")
    both = product(a, b)
    for text in every_string("ab0", 5):
        assert both.accepts(text) == (a.accepts(text) and b.accepts(text)), text


@given(patterns)
@settings(max_examples=50, deadline=None)
def test_the_shortest_string_is_accepted_and_none_is_shorter(pattern):
    automaton = from_pattern(pattern, LETTERS)
    shortest = automaton.shortest()
    assert automaton.is_empty == (shortest is None)
    if shortest is not None:
        assert automaton.accepts(shortest)
        shorter = every_string(LETTERS, min(4, len(shortest) - 1)) if shortest else ()
        assert not any(automaton.accepts(text) for text in shorter)


@pytest.mark.parametrize(
    ("pattern", "alphabet", "states"),
    [
        ("[A-Z]{3}-?[0-9]{3,4}", CAPITALS + DIGITS + "-", 9),
        ("20[0-9]{2}-(0[1-9]|1[0-2])-[0-3][0-9]", DIGITS + "-", 12),
        ("[0-9]{16}", DIGITS, 17),
        ("(a|b)*a(a|b){6}", "ab", 128),
    ],
)
def test_a_pattern_needs_the_fewest_states(pattern, alphabet, states):
    assert len(from_pattern(pattern, alphabet).table) == states


def test_two_formats_that_contradict_have_no_common_string():
    three, four = (from_pattern(f"[0-9]{{{n}}}", DIGITS) for n in (3, 4))
    assert product(three, four).is_empty
    assert product(three, four).shortest() is None
    assert not product(three, four).accepts("")


@pytest.mark.parametrize("pattern", ["^a+$", "^a+", "a+$"])
def test_anchors_around_a_pattern_change_nothing(pattern):
    automaton = from_pattern(pattern, "ab$")
    assert automaton.accepts("aa")
    assert not automaton.accepts("aab")


def test_a_written_dollar_is_a_dollar():
    automaton = from_pattern(r"a\$", "a$")
    assert automaton.accepts("a$")
    assert not automaton.accepts("a")


def test_any_script_can_be_read():
    plate = from_pattern("[\u4eac\u6caa][A-Z]\\d{5}", "\u4eac\u6caaA12345")
    assert plate.accepts("\u4eacA12345")
    assert not plate.accepts("AA12345")


def test_a_symbol_of_several_characters_is_spelled():
    lights = from_pattern("(red|green)+", ("red", "green", "yellow"))
    assert lights.accepts(["red", "green"])
    assert not lights.accepts(["red", "yellow"])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a(?=b)b", "position 1"),
        ("(?!ab)..", "position 0"),
        ("(a)\\1", "position 3"),
        ("(?i)a", "position 0"),
        ("a^b", "position 1"),
        ("^a$b", "position 2"),
        (r"\bab", "position 0"),
        ("a++", "position 2"),
        ("[ab", "unterminated character set at position 0"),
        ("a)", "unbalanced parenthesis at position 1"),
        ("*a", "nothing to repeat at position 0"),
        ("[[a]", "nested set"),
        ("a{3000}", "more than 2000"),
        ("a{99999999999}", "number is too large"),
        ("(" * 400 + "a" + ")" * 400, "nested too deeply"),
        ("a" * 1001, "at most 1000 characters"),
        ("(a|b)*a(a|b){40}", "more than 5000 states"),
        ("((ab?){200}){200}", "more than 5000 states"),
    ],
)
def test_a_pattern_that_cannot_be_followed_is_refused_in_words(pattern, found):
    started = time.perf_counter()
    with pytest.raises(UsageError, match=found):
        from_pattern(pattern, "ab^$")
    assert time.perf_counter() - started < 10


def test_a_long_row_of_optional_characters_is_read():
    assert from_pattern("a?" * 200, "a").accepts("a" * 200)
    assert not from_pattern("a?" * 200, "a").accepts("a" * 201)


def test_a_product_with_too_many_states_is_refused():
    def every(n, symbol):
        return explored("ab", 0, lambda k, s: (k + (s == symbol)) % n, lambda k: k == 0, "It")

    assert len(product(every(50, "a"), every(60, "b")).table) == 3000
    with pytest.raises(UsageError, match="more than 5000 states"):
        product(every(100, "a"), every(60, "b"))


def test_states_that_lead_nowhere_are_left_out():
    table = np.array([[1, 2], [-1, -1], [2, 2], [1, 1]], np.int32)  # 2 is a trap, 3 unreachable
    trimmed = Automaton(("a", "b"), table, np.array([False, True, False, True])).trimmed()
    assert trimmed.table.tolist() == [[1, -1], [-1, -1]]
    assert trimmed.accepting.tolist() == [False, True]


def test_symbols_that_do_the_same_are_one_letter():
    letters = from_pattern("[A-Z]{2}[0-9]", CAPITALS + DIGITS).letters
    assert len(set(letters.tolist())) == 2


def test_anything_is_the_neutral_partner():
    plate = from_pattern("[ab]{2}", "ab")
    assert len(product(plate, anything("ab")).table) == len(plate.table) == 3


def test_an_unknown_symbol_is_refused():
    assert not anything("ab").accepts("abc")
