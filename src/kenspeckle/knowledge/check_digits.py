"""Check digits: which of the strings of a pattern have the right one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from kenspeckle.errors import UsageError, nearest
from kenspeckle.knowledge.automaton import Automaton, State, explored, product

SEPARATORS = " -./"  # pass where the pattern has them, and count for nothing
DIGITS = {str(value): value for value in range(10)}
CAPITALS = {letter: value for value, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", start=10)}
_NUMBERS = {**DIGITS, **CAPITALS}
# 49 CFR 565.15 (c): I, O and Q do not occur.
_VIN_LETTERS = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True)
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, -1, 9, 8, 7, 6, 5, 4, 3, 2)

Values: TypeAlias = Mapping[str, int]
_Place: TypeAlias = tuple[int, int]  # the pattern's state, and how many of an IBAN's first four
Check: TypeAlias = Callable[[Automaton], Automaton]


def checked(pattern: Automaton, name: str, weights: Sequence[int] = ()) -> Automaton:
    """The strings of a pattern whose check digit is right; it may be that there are none.

    Args:
        pattern: over single characters; a separator (blank, hyphen, full stop, stroke) that it
            allows counts for nothing, any other character that the check does not know is refused.
        name: one of `CHECKS`.
        weights: of `mod11`, one for each digit.

    Raises:
        UsageError: an unknown name, weights missing or not asked for, or too many states.

    >>> from kenspeckle.knowledge.automaton import from_pattern
    >>> card = checked(from_pattern("[0-9]{4}( [0-9]{4}){3}", "0123456789 "), "luhn")
    >>> card.accepts("4539 1488 0343 6467"), card.accepts("4539 1488 0343 6476")
    (True, False)
    """
    if name not in CHECKS:
        raise UsageError(
            f"There is no check digit {name!r}{nearest(name, CHECKS)}; "
            f"there are {', '.join(sorted(CHECKS))}."
        )
    if name == "mod11":
        return mod11(pattern, weights)
    if weights:
        raise UsageError(f"Only mod11 has weights; {name} has its own.")
    return CHECKS[name](pattern)


def luhn(pattern: Automaton) -> Automaton:
    """Card numbers and many serial numbers: digits, the last makes the sum a multiple of 10.

    From the right each second digit counts double, its two digits added. A reader from the left
    keeps both sums, of an end here and of an end one digit further, so that any length is exact.

    Source: ISO/IEC 7812-1, annex B; Luhn 1960, US patent 2,950,048.
    """

    def step(sums: tuple[int, int] | None, symbol: str) -> tuple[int, int] | None:
        if symbol not in DIGITS:
            return None
        here, further = sums or (0, 0)
        digit = DIGITS[symbol]
        return (further + digit) % 10, (here + (2 * digit) // 10 + (2 * digit) % 10) % 10

    return _restricted(pattern, None, step, lambda sums: sums is not None and sums[0] == 0)


def mod97(pattern: Automaton) -> Automaton:
    """Letters and digits as one number, A = 10 to Z = 35, that leaves 1 when divided by 97.

    Legal entity identifiers are so. Bank accounts move their beginning to the end: `iban`.

    Source: ISO/IEC 7064, MOD 97-10; ISO 17442.
    """

    def step(rest: int, symbol: str) -> int | None:
        if symbol not in _NUMBERS:
            return None
        return (rest * (10 if symbol in DIGITS else 100) + _NUMBERS[symbol]) % 97

    return _restricted(pattern, 0, step, lambda rest: rest == 1)


def ean13(pattern: Automaton) -> Automaton:
    """Thirteen digits, weighted 1 and 3 in turn, a multiple of 10; ISBN-13 too.

    Source: GS1 General Specifications, section 7.9.
    """
    return _weighted(pattern, [1, 3] * 6 + [1], 10, [DIGITS] * 13)


def isbn10(pattern: Automaton) -> Automaton:
    """Ten digits, weighted 10 down to 1, a multiple of 11; the last may be X, which is 10.

    Source: ISO 2108:1992.
    """
    return mod11(pattern, range(10, 0, -1))


def vin(pattern: Automaton) -> Automaton:
    """Seventeen characters of a vehicle; the ninth is what the others leave divided by 11, X is 10.

    Obligatory in North America, elsewhere often absent.

    Source: 49 CFR 565.15 (c); ISO 3779 for the characters.
    """
    other: Values = {**DIGITS, **_VIN_LETTERS}
    ninth: Values = {**DIGITS, "X": 10}
    values = [other] * 8 + [ninth] + [other] * 8
    return _weighted(pattern, _VIN_WEIGHTS, 11, values)


def mod11(pattern: Automaton, weights: Sequence[int] = ()) -> Automaton:
    """As many digits as weights whose weighted sum is a multiple of 11; the last may be X, 10.

    The last weight is that of the check digit. ISSN: 8 down to 1; NHS number: 10 down to 1; Dutch
    citizen service number: 9 down to 2 and -1.

    Source: ISO 3297 (ISSN); NHS Data Dictionary, NHS number.
    """
    if not weights:
        raise UsageError("mod11 needs weights, one for each digit, such as 8, 7, 6, 5, 4, 3, 2, 1.")
    values: Sequence[Values] = [DIGITS] * (len(weights) - 1) + [{**DIGITS, "X": 10}]
    return _weighted(pattern, weights, 11, values)


def iban(pattern: Automaton) -> Automaton:
    """Bank accounts: `mod97` of what follows the first four characters, and then these.

    The first four count from the right end, so what each character counts is known only where the
    pattern fixes how many digits follow, a letter being two: one pattern for each country.

    Raises:
        UsageError: the pattern leaves open how many digits follow.

    Source: ISO 13616-1.
    """
    left = _digits_left(pattern)

    def step(state: tuple[_Place, int], symbol: str) -> tuple[_Place, int] | None:
        place, rest = state
        target = _onward(pattern, place, symbol)
        if target not in left:
            return None
        if symbol in SEPARATORS:
            return target, rest
        first = (10**4, 10**2, 10, 1)
        weight = first[place[1]] if place[1] < 4 else 10 ** (left[target] + 6)
        return target, (rest + weight * _NUMBERS[symbol]) % 97

    def is_end(state: tuple[_Place, int]) -> bool:
        return _may_end(pattern, state[0]) and state[1] == 1

    return explored(pattern.alphabet, ((0, 0), 0), step, is_end, "The check iban with its pattern")


def _digits_left(pattern: Automaton) -> dict[_Place, int]:
    """How many digits follow each place on the way to an end; without those on no such way.

    Before the fifth character nobody asks, so there it is 0.
    """
    places: list[_Place] = [(0, 0)]
    before: dict[_Place, list[tuple[_Place, int]]] = {(0, 0): []}
    for place in places:
        for symbol in pattern.alphabet:
            target = _onward(pattern, place, symbol)
            if target is None:
                continue
            if target not in before:
                before[target] = []
                places.append(target)
            counts = place[1] == 4 and symbol not in SEPARATORS
            before[target].append((place, counts * (1 if symbol in DIGITS else 2)))
    waiting = [place for place in places if _may_end(pattern, place)]
    left = dict.fromkeys(waiting, 0)
    for place in waiting:
        for source, digits in before[place]:
            following = left[place] + digits if source[1] == 4 else 0  # asked after the first four
            if source not in left:
                left[source] = following
                waiting.append(source)
            elif left[source] != following:
                raise UsageError(
                    "The check iban needs a pattern that fixes how many characters there are and "
                    "which of them are letters, such as DE[0-9]{20}: one for each country."
                )
    return left


def _onward(pattern: Automaton, place: _Place, symbol: str) -> _Place | None:
    """The pattern's state and how many of the first four characters there were, after one more."""
    state, count = place
    target = int(pattern.table[state, pattern.alphabet.index(symbol)])
    if target < 0:
        return None
    if symbol in SEPARATORS:
        return target, count
    known = CAPITALS if count < 2 else DIGITS if count < 4 else _NUMBERS
    return (target, min(count + 1, 4)) if symbol in known else None


def _may_end(pattern: Automaton, place: _Place) -> bool:
    return place[1] == 4 and bool(pattern.accepting[place[0]])


def _weighted(
    pattern: Automaton, weights: Sequence[int], modulus: int, values: Sequence[Values]
) -> Automaton:
    """Strings of as many characters as weights whose weighted sum is a multiple."""

    def step(state: tuple[int, int], symbol: str) -> tuple[int, int] | None:
        place, rest = state
        if place == len(weights) or symbol not in values[place]:
            return None
        return place + 1, (rest + weights[place] * values[place][symbol]) % modulus

    return _restricted(pattern, (0, 0), step, lambda state: state == (len(weights), 0))


def _restricted(
    pattern: Automaton,
    start: State,
    step: Callable[[State, str], State | None],
    is_end: Callable[[State], bool],
) -> Automaton:
    """What a pattern and a rule both accept, where separators do not change the rule's state."""

    def passing(state: State, symbol: str) -> State | None:
        return state if symbol in SEPARATORS else step(state, symbol)

    rule = explored(pattern.alphabet, start, passing, is_end, "The check digit")
    return product(pattern, rule)


CHECKS: Mapping[str, Check] = {
    "luhn": luhn,
    "mod97": mod97,
    "ean13": ean13,
    "isbn10": isbn10,
    "vin": vin,
    "iban": iban,
    "mod11": mod11,
}
