"""One-line sentences, as `if night and car then headlights on`, read into formulas."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kenspeckle.knowledge.formulas import All, Any, Count, Formula, Is, Not
from kenspeckle.knowledge.names import Names, shown, some
from kenspeckle.knowledge.problems import Place, Problem
from kenspeckle.knowledge.source import Text

_TOKEN = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([()\[\],=])|([^\s()\[\],="'][^\s()\[\],=]*))""")
_WORDS = frozenset({"and", "or", "not", "if", "then", "never", "is", "in", "of"})
_COUNTS = ("exactly", "at most", "at least")
_STARTS = _WORDS | {"exactly", "at"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DEEPEST = 50  # sentences in one another


class SentenceError(Exception):
    """A sentence that cannot be read; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.words)
        self.problem = problem


@dataclass(frozen=True)
class _Token:
    text: str
    start: int  # in the sentence
    is_quoted: bool = False


def read_sentence(text: Text, names: Names) -> Formula:
    """What a sentence says.

    Grammar, loosest first: `if A then B`; `never A`; `A or B`; `A and B`; `not A`;
    `exactly|at most|at least N of [A, B]`; `NAME is VALUE`, `NAME is not VALUE`,
    `NAME in [VALUE, VALUE]`; a name; `(A)`. Names may hold spaces; one that holds a bracket, a
    comma or a quotation mark is quoted.

    Raises:
        SentenceError: a name is not known (E101), or the sentence is not of that grammar (E105).
    """
    whole = names.meaning(" ".join(text.text.split()))
    if whole is not None:  # a name with brackets or commas needs no quotation marks when alone
        return whole
    reader = _Reader(_tokens(text), names, text)
    formula = reader.sentence()
    reader.end()
    return formula


def _tokens(text: Text) -> list[_Token]:
    found, at = [], 0
    while at < len(text.text):
        match = _TOKEN.match(text.text, at)
        if match is None:
            if text.text[at:].strip():
                opened = at + len(text.text[at:]) - len(text.text[at:].lstrip())
                words = "The quotation mark that opens here is never closed."
                raise _wrong(words, text.at(opened))
            break
        at = match.end()
        kind = match.lastindex or 0
        found.append(_Token(match.group(kind), match.start(kind), kind <= 2))
    return found


def _wrong(words: str, place: Place, code: str = "E105") -> SentenceError:
    return SentenceError(Problem(code, words, place))


class _Reader:
    """Recursive descent over the tokens of one sentence."""

    def __init__(self, tokens: Sequence[_Token], names: Names, text: Text) -> None:
        self.tokens, self.names, self.text = tokens, names, text
        self.at = self.depth = 0

    def sentence(self) -> Formula:
        if self.takes("if"):
            condition = self.either()
            self.must("then")
            return Any((Not(condition), self.within(self.sentence)))
        if self.takes("never"):
            return Not(self.either())
        return self.either()

    def either(self) -> Formula:
        parts = [self.both()]
        while self.takes("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def both(self) -> Formula:
        parts = [self.one()]
        while self.takes("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def one(self) -> Formula:
        place = self.at
        name = self.longest_name()
        if name is None:
            if self.takes("not"):
                return Not(self.within(self.one))
            if self.takes("("):
                formula = self.within(self.sentence)
                self.must(")")
                return formula
            counted = next((c for c in _COUNTS if self.takes(*c.split())), None)
            if counted is not None:
                return self.count(counted)
            raise self.unknown()
        number = self.names.number(name)
        if number is not None and self.takes("is"):
            is_not = not self.has_value(number) and self.takes("not")
            said = Is(number, frozenset({self.value(number, name)}))
            return Not(said) if is_not else said
        if number is not None and self.takes("="):
            return Is(number, frozenset({self.value(number, name)}))
        if number is not None and self.takes("in"):
            self.must("[")
            values = {self.value(number, name)}
            while self.takes(","):
                values.add(self.value(number, name))
            self.must("]")
            return Is(number, frozenset(values))
        meaning = self.names.meaning(name)
        if meaning is None:
            assert number is not None
            values_ = self.names.choices[number].values
            raise _wrong(
                f"{shown(name)} has values ({some(values_, 6)}). Say which, as "
                f"'{name} is {values_[0]}'.",
                self.place(place),
            )
        return meaning

    def within(self, reading: Callable[[], Formula]) -> Formula:
        """A part inside the sentence."""
        self.depth += 1
        if self.depth > DEEPEST:
            words = (
                f"This sentence has parts inside parts, over {DEEPEST} deep. Write several rules."
            )
            raise _wrong(words, self.place())
        formula = reading()
        self.depth -= 1
        return formula

    def count(self, kind: str) -> Formula:
        place = self.place()
        token = self.taken()
        number = None if token is None else number_of(token.text)
        if number is None:
            raise _wrong(f"A number should follow '{kind}', as in '{kind} 2 of [a, b, c]'.", place)
        self.must("of")
        self.must("[")
        parts = [self.within(self.either)]
        while self.takes(","):
            parts.append(self.within(self.either))
        self.must("]")
        return counted(kind, number, parts, place)

    def value(self, number: int, name: str) -> int:
        """The longest run of words that is a value of this choice."""
        found = self.has_value(number)
        if found:
            said = " ".join(token.text for token in self.tokens[self.at : self.at + found])
            self.at += found
            value = self.names.value(number, said)
            assert value is not None
            return value
        values = self.names.choices[number].values
        told = self.words()
        near = self.names.hint(told, values) if told else "."
        raise _wrong(
            f"{shown(name)} has no value {shown(told) if told else 'here'}{near} It has: "
            f"{some(values)}.",
            self.place(),
            "E101",
        )

    def has_value(self, number: int) -> int:
        """Of how many words from here the longest value of this choice is; 0 where none is."""
        most = self.names.most_words_of(number)
        for end in range(min(len(self.tokens), self.at + most), self.at, -1):
            said = " ".join(token.text for token in self.tokens[self.at : end])
            if self.names.value(number, said) is not None:
                return end - self.at
        return 0

    def longest_name(self) -> str | None:
        """The longest run of words from here that is a name."""
        if self.at < len(self.tokens) and self.tokens[self.at].is_quoted:
            name = self.tokens[self.at].text
            if not self.names.is_taken(name):
                raise self.unknown()
            self.at += 1
            return name
        most = min(len(self.tokens), self.at + self.names.most_words)
        for end in range(most, self.at, -1):
            said = " ".join(token.text for token in self.tokens[self.at : end])
            if self.names.is_taken(said):
                self.at = end
                return said
        return None

    def words(self) -> str:
        """What stands from here up to the next word of the grammar."""
        found = []
        for token in self.tokens[self.at :]:
            if not token.is_quoted and (token.text in _WORDS or token.text in "()[],="):
                break
            found.append(token.text)
        return " ".join(found)

    def unknown(self) -> SentenceError:
        """E101 for the words up to the next word of the grammar; E105 where there are none."""
        name = self.words()
        if not name:
            if self.at == len(self.tokens):
                return _wrong("The sentence ends where a name should stand.", self.place())
            found = self.tokens[self.at].text
            return _wrong(f"A name should stand here, found '{found}'.", self.place())
        self.no_capital()
        columns = self.names.columns_of(name)
        if columns:
            both = " or ".join(f"'{column} is {name}'" for column in columns)
            return _wrong(f"{shown(name)} is a value of several columns. Say {both}.", self.place())
        near = self.names.hint(name)
        words = f"There is no class, attribute, tag or column {shown(name)}{near}"
        if near == ".":
            words += " Check its spelling, or add it to `classes`, `attributes`, `tags`, `columns`."
        return _wrong(words, self.place(), "E101")

    def takes(self, *words: str) -> bool:
        """Go on if these words come next."""
        some = self.tokens[self.at : self.at + len(words)]
        if [t.text for t in some] != list(words) or any(t.is_quoted for t in some):
            return False
        self.at += len(words)
        return True

    def taken(self) -> _Token | None:
        if self.at >= len(self.tokens):
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def must(self, word: str) -> None:
        if not self.takes(word):
            found = "the end"
            if self.at < len(self.tokens):
                self.no_capital()
                found = shown(self.tokens[self.at].text)
            raise _wrong(f"'{word}' should stand here, found {found}.", self.place())

    def no_capital(self) -> None:
        """Raise where the next word is one of the grammar but for its capital letters."""
        word = self.tokens[self.at].text
        if word.lower() in _STARTS and word != word.lower():
            raise _wrong(f"Write '{word.lower()}' in place of '{word}'.", self.place())

    def end(self) -> None:
        if self.at < len(self.tokens):
            self.no_capital()
            rest = " ".join(token.text for token in self.tokens[self.at :])
            words = f"The sentence should end before {shown(rest)}. "
            if self.takes("is") or self.takes("in"):
                words += "Only an attribute, a tag or a column can have a value; a class is named "
                words += "alone, as in 'if dog then ...'."
                self.at -= 1
            elif self.tokens[self.at].text == ",":
                words += "Put 'and' or 'or' in place of the comma."
            else:
                words += "Is 'and' or 'or' missing before it, or is it a part of a name that is "
                words += "spelt otherwise?"
            raise _wrong(words, self.place())

    def place(self, at: int | None = None) -> Place:
        """Of the next token, or that number; at the end, of the end."""
        number = self.at if at is None else at
        last = len(self.text.text)
        return self.text.at(self.tokens[number].start if number < len(self.tokens) else last)


def number_of(word: str) -> int | None:
    """A whole number in digits, or a small one as a word; None where it is none.

    >>> number_of("12"), number_of("two"), number_of("some")
    (12, 2, None)
    """
    if word in _NUMBERS:
        return _NUMBERS.index(word)
    is_whole = word.isascii() and word.isdigit() and len(word) < 9
    return int(word) if is_whole else None


def counted(kind: str, number: int, parts: Sequence[Formula], place: Place) -> Formula:
    """`exactly`, `at most` or `at least` so many of the parts.

    Raises:
        SentenceError: there are not so many parts, or it says nothing.
    """
    if not parts:
        raise _wrong("There is nothing in this list to count.", place)
    if number > len(parts):
        raise _wrong(
            f"There are only {len(parts)} things here, not {number}. Add the others, or say a "
            "smaller number.",
            place,
        )
    if len(set(parts)) < len(parts):
        raise _wrong("The same thing stands twice in this list. Take one of both out.", place)
    if (kind, number) == ("at least", 0) or (kind == "at most" and number == len(parts)):
        raise _wrong(
            f"'{kind} {number} of' {len(parts)} things is always true. Say another number, or "
            "take the rule out.",
            place,
        )
    least = 0 if kind == "at most" else number
    most = len(parts) if kind == "at least" else number
    return Count(tuple(parts), least, most)
