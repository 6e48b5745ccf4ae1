"""Check digits: published numbers are right, and each changed digit makes them wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import anything, from_pattern
from kenspeckle.knowledge.check_digits import CHECKS, checked

DIGITS = "0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHABET = DIGITS + CAPITALS + " -"
ISSN, NHS, CITIZEN = range(8, 0, -1), range(10, 0, -1), (9, 8, 7, 6, 5, 4, 3, 2, -1)

# Wikipedia's articles on each, unless a comment says otherwise.
PUBLISHED = [
    ("luhn", ".*", (), "79927398713"),
    ("luhn", "[0-9 ]{19}", (), "4539 1488 0343 6467"),
    ("luhn", ".*", (), "18"),
    ("mod97", ".{20}", (), "5493001KJTIIGC8Y1R12"),  # Bloomberg's legal entity identifier
    ("ean13", ".*", (), "4006381333931"),
    ("ean13", ".*", (), "978-0-306-40615-7"),
    ("isbn10", ".*", (), "0-306-40615-2"),
    ("isbn10", ".*", (), "0-8044-2957-X"),
    ("vin", ".*", (), "1M8GDM9AXKP042788"),
    ("vin", ".*", (), "11111111111111111"),
    ("iban", "GB[0-9]{2} [A-Z]{4}( [0-9]{4}){3} [0-9]{2}", (), "GB82 WEST 1234 5698 7654 32"),
    ("iban", "DE[0-9]{20}", (), "DE89370400440532013000"),
    ("iban", "NL[0-9]{2}[A-Z]{4}[0-9]{10}", (), "NL91ABNA0417164300"),
    ("mod11", ".*", ISSN, "0378-5955"),
    ("mod11", ".*", ISSN, "2434-561X"),
    ("mod11", ".*", NHS, "943 476 5919"),
    ("mod11", ".*", CITIZEN, "111222333"),
]


def automaton(name, pattern, weights):
    return checked(from_pattern(pattern, ALPHABET), name, weights)


@pytest.mark.parametrize(("name", "pattern", "weights", "text"), PUBLISHED)
def test_a_published_number_is_right_and_none_beside_it(name, pattern, weights, text):
    right = automaton(name, pattern, weights)
    assert right.accepts(text)
    beside = [
        text[:place] + digit + text[place + 1 :]
        for place, character in enumerate(text)
        for digit in DIGITS
        if character in DIGITS and digit != character
    ]
    assert not [other for other in beside if right.accepts(other)]


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_is_tried_with_a_published_number(name):
    assert name in {row[0] for row in PUBLISHED}


def luhn_by_the_book(number: str) -> bool:
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(number))]
    return sum(d // 10 + d % 10 for d in doubled) % 10 == 0


@given(st.text(DIGITS, min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_luhn_is_right_at_any_length(number):
    right = LUHN.accepts
    assert right(number) == luhn_by_the_book(number)
    assert sum(right(number + digit) for digit in DIGITS) == 1


LUHN = checked(anything(DIGITS + "-"), "luhn")


SWISS = automaton("iban", "CH[0-9]{14}", ())


@given(st.text(DIGITS, min_size=12, max_size=12))
@settings(max_examples=25, deadline=None)
def test_an_account_number_moved_and_divided_leaves_one(digits):
    moved = digits + "1217"  # C = 12, H = 17
    check = 98 - int(moved + "00") % 97
    assert SWISS.accepts(f"CH{check:02d}{digits}")
    assert not SWISS.accepts(f"CH{98 - check:02d}{digits}") or check == 49


@given(st.text(DIGITS + CAPITALS, min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_mod97_divides_the_number_that_the_letters_spell(text):
    check = 98 - int("".join(str(int(character, 36)) for character in text + "00")) % 97
    assert MOD97.accepts(f"{text}{check:02d}")
    assert not MOD97.accepts(f"{text}{check % 97 + 1:02d}") or check == 97


MOD97 = checked(anything(ALPHABET), "mod97")


def test_separators_count_for_nothing_where_the_pattern_has_them():
    bare, spaced = automaton("luhn", "[0-9]{4}", ()), automaton("luhn", "[0-9]{2}-[0-9]{2}", ())
    for number in range(10_000):
        text = f"{number:04d}"
        assert bare.accepts(text) == spaced.accepts(f"{text[:2]}-{text[2:]}")


@pytest.mark.parametrize("digits", [8, 16])
def test_a_luhn_string_of_fixed_length_needs_ten_states_a_digit(digits):
    assert len(automaton("luhn", f"[0-9]{{{digits}}}", ()).table) <= 10 * digits + 1


def test_a_vin_has_no_letter_that_looks_like_a_digit():
    assert automaton("vin", ".{16}[IOQ]", ()).is_empty


def test_a_format_that_the_check_cannot_fit_has_no_string():
    assert automaton("luhn", "SN[0-9]{8}", ()).is_empty
    assert automaton("ean13", "[0-9]{12}", ()).is_empty
    assert automaton("iban", "[0-9]{20}", ()).is_empty


@pytest.mark.parametrize("pattern", ["DE[0-9]{2}[0-9]+", "MT[0-9]{2}[A-Z]{4}[0-9]{5}[A-Z0-9]{18}"])
def test_an_iban_of_open_length_is_refused_with_the_way_out(pattern):
    with pytest.raises(UsageError, match="one for each country"):
        automaton("iban", pattern, ())


def test_an_iban_may_begin_alike_and_go_on_differently():
    either = automaton("iban", "DE[0-9]{20}|DK[0-9]{16}", ())
    assert either.accepts("DE89370400440532013000")
    assert either.accepts("DK5000400440116243")


@pytest.mark.parametrize(
    ("name", "weights", "found"),
    [
        ("lun", (), "did you mean 'luhn'"),
        ("mod11", (), "mod11 needs weights"),
        ("luhn", (1, 2), "Only mod11 has weights"),
    ],
)
def test_a_check_that_is_none_is_refused(name, weights, found):
    with pytest.raises(UsageError, match=found):
        automaton(name, "[0-9]+", weights)
