"""A pattern of characters is read into what may come first and what is left after it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from kenspeckle.errors import UsageError

_Token: TypeAlias = tuple[str, int, str]  # kind, place, text

LONGEST = 1_000  # characters of a pattern
MOST_TIMES = 2_000  # of a count; longer texts are no lines

# Each alternative of `letters` stands for one character, and Python itself is asked which.
_TOKEN = re.compile(
    r"""
    (?P<letters> \[\^?\]?(?:\\.|[^\]\\])*\] | \\[dDwWsSntrfv] | \\x[0-9a-fA-F]{2}
                 | \\u[0-9a-fA-F]{4} | \\[^\w] | [^\\()\[|*+?{}^$] )
    | (?P<open> \( (?:\?:|\?P<\w+>)? (?!\?) )
    | (?P<close> \) )
    | (?P<bar> \| )
    | (?P<count> [*+?] | \{(?:\d+(?:,\d*)?|,\d*)\} ) \??
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Either:
    """One of several sequences."""

    options: tuple[Rest, ...]


@dataclass(frozen=True)
class Repeat:
    """The same again and again, `least` to `most` times; None is no limit."""

    inner: Node
    least: int
    most: int | None

    def once_less(self) -> Rest:
        """What is still to be repeated after one time; nothing where that was the last."""
        if self.most == 1:
            return ()
        most = None if self.most is None else self.most - 1
        return (Repeat(self.inner, max(self.least - 1, 0), most),)


Node: TypeAlias = frozenset[str] | Either | Repeat  # the characters that may stand at a place
Rest: TypeAlias = tuple[Node, ...]  # what a string still has to say, in order
Way: TypeAlias = tuple[frozenset[str], Rest] | None  # one of these, then a rest; None is the end


def read(pattern: str, characters: Sequence[str]) -> Rest:
    """What a string of the pattern has to say.

    Args:
        pattern: as in `from_pattern`.
        characters: those that there are.

    Raises:
        UsageError: it is no pattern, or not one of those that can be read here.

    >>> read("a[bc]", "abd") == (frozenset("a"), frozenset("b"))
    True
    """
    if len(pattern) > LONGEST:
        raise UsageError(
            f"A pattern has at most {LONGEST} characters, and this has {len(pattern)}."
        )
    _must_be_valid(pattern)
    bare = pattern.removeprefix("^")
    if re.search(r"(?<!\\)(?:\\\\)*\$\Z", bare):
        bare = bare[:-1]
    reader = _Reader(pattern, _tokens(bare, pattern), characters)
    rest = reader.either()
    if reader.waiting:
        raise _unreadable(pattern, reader.waiting[-1][1])
    return rest


@lru_cache(maxsize=1 << 16)
def ways(rest: Rest) -> frozenset[Way]:
    """How a rest goes on: with one of some characters and another rest, or None: it may end here.

    >>> ways(read("a?b", "ab")) == {(frozenset("a"), (frozenset("b"),)), (frozenset("b"), ())}
    True
    """
    if not rest:
        return frozenset([None])
    first, after = rest[0], rest[1:]
    if isinstance(first, frozenset):
        return frozenset([(first, after)])
    if isinstance(first, Either):
        return frozenset().union(*(ways(option + after) for option in first.options))
    once = ways((first.inner,))
    found = {(way[0], way[1] + first.once_less() + after) for way in once if way is not None}
    # What can be empty can be so as often as it has to be there.
    return frozenset(found).union(ways(after) if first.least == 0 or None in once else ())


class _Reader:
    """Tokens become a rest, by recursive descent."""

    def __init__(self, pattern: str, tokens: list[_Token], characters: Sequence[str]) -> None:
        self.pattern, self.characters = pattern, characters
        self.waiting = tokens[::-1]

    def take(self, *kinds: str) -> str | None:
        """The next token's text if it is one of these kinds, and on to the one after it."""
        return self.waiting.pop()[2] if self.waiting and self.waiting[-1][0] in kinds else None

    def either(self) -> Rest:
        options = [self.sequence()]
        while self.take("bar"):
            options.append(self.sequence())
        return options[0] if len(options) == 1 else (Either(tuple(options)),)

    def sequence(self) -> Rest:
        rest: Rest = ()
        while self.waiting and self.waiting[-1][0] in ("letters", "open"):
            if text := self.take("letters"):
                rest += self.counted(self.letters(text))
            else:
                self.take("open")
                inner = self.either()
                self.take("close")  # there is one: Python has read the pattern
                rest += self.counted(Either((inner,)))
        return rest

    def letters(self, text: str) -> frozenset[str]:
        one = re.compile(text)
        return frozenset(character for character in self.characters if one.fullmatch(character))

    def counted(self, node: Node) -> Rest:
        text = self.take("count")
        if text is None:
            return (node,)
        least, most = _count(text.removesuffix("?") if len(text) > 1 else text)
        if max(least, most or 0) > MOST_TIMES:
            raise UsageError(f"{text} in the pattern {self.pattern!r} is more than {MOST_TIMES}.")
        return (Repeat(node, least, most),) if most != 0 else ()


def _count(text: str) -> tuple[int, int | None]:
    """How often, at least and at most.

    >>> _count("+"), _count("{3}"), _count("{,4}"), _count("{2,}")
    ((1, None), (3, 3), (0, 4), (2, None))
    """
    if text in "*+?":
        return int(text == "+"), 1 if text == "?" else None
    least, comma, most = text[1:-1].partition(",")
    if not comma:
        return int(least), int(least)
    return int(least or 0), int(most) if most else None


def _tokens(bare: str, pattern: str) -> list[_Token]:
    """Kind, place and text of each token; `bare` may lack the first and last of `pattern`."""
    shift = int(pattern.startswith("^"))
    place, found = 0, []
    while place < len(bare):
        token = _TOKEN.match(bare, place)
        if token is None:
            raise _unreadable(pattern, place + shift)
        found.append((str(token.lastgroup), place + shift, token[0]))
        place = token.end()
    return found


def _must_be_valid(pattern: str) -> None:
    """Python's own words on what is wrong with a pattern."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, Warning) as error:
        raise UsageError(f"{pattern!r} is no pattern: {error}.") from None


def _unreadable(pattern: str, place: int) -> UsageError:
    return UsageError(
        f"The pattern {pattern!r} has {pattern[place : place + 3]!r} at position {place}, which "
        "cannot be followed here. It may have characters, [...], ., groups, | and the counts "
        "* + ? {m,n}; not looking ahead or behind, not what a group has matched, no flags, and "
        "^ and $ only around all of it."
    )
