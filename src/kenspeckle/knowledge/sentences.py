"""One-line sentences, as `if night and car then headlights on`, read into formulas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kenspeckle.knowledge.formulas import All, Any, Count, Formula, Is, Not
from kenspeckle.knowledge.names import Names, hint
from kenspeckle.knowledge.problems import Place, Problem
from kenspeckle.knowledge.source import Items, Node, Text

_TOKEN = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([()\[\],=])|([^\s()\[\],="']+))""")
_WORDS = frozenset({"and", "or", "not", "if", "then", "never", "is", "in", "of"})
_COUNTS = ("exactly", "at most", "at least")
DEEPEST = 50  # parentheses


class SentenceError(Exception):
    """A sentence that cannot be read; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.words)
        self.problem = problem


@dataclass(frozen=True)
class _Token:
    text: str
    column: int
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


def read_listed(node: Node, names: Names) -> list[Formula]:
    """Each sentence of a list, or the one that stands alone.

    Raises:
        SentenceError: as `read_sentence`, or the node is a table.
    """
    items = node.items if isinstance(node, Items) else (node,)
    found = []
    for item in items:
        if not isinstance(item, Text):
            raise _wrong("Names are expected here, not a table or a list of lists.", item.place)
        found.append(read_sentence(item, names))
    return found


def _tokens(text: Text) -> list[_Token]:
    found, at = [], 0
    while at < len(text.text):
        match = _TOKEN.match(text.text, at)
        if match is None:
            if text.text[at:].strip():
                place = Place(text.place.line, text.place.column + at)
                raise _wrong("A quotation mark is not closed.", place)
            break
        at = match.end()
        kind = match.lastindex or 0
        column = text.place.column + match.start(kind)
        found.append(_Token(match.group(kind), column, kind <= 2))
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
            return Any((Not(condition), self.sentence()))
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
        name = self.longest_name()
        if name is None:
            if self.takes("not"):
                return Not(self.one())
            if self.takes("("):
                return self.inside()
            counted = next((c for c in _COUNTS if self.takes(*c.split())), None)
            if counted is not None:
                return self.count(counted)
            raise self.unknown()
        number = self.names.number(name)
        if number is not None and self.takes("is"):
            wanted = not self.takes("not")
            said = Is(number, frozenset({self.value(number, name)}))
            return said if wanted else Not(said)
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
            values_ = ", ".join(self.names.choices[number].values[:6])
            raise _wrong(
                f"'{name}' has values ({values_}). Say which: '{name} is ...'.", self.place()
            )
        return meaning

    def inside(self) -> Formula:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _wrong("Parentheses are nested too deep.", self.place())
        formula = self.sentence()
        self.must(")")
        self.depth -= 1
        return formula

    def count(self, kind: str) -> Formula:
        place = self.place()
        token = self.taken()
        if token is None or not token.text.isascii() or not token.text.isdigit():
            raise _wrong(f"A number is expected after '{kind}'.", place)
        self.must("of")
        self.must("[")
        parts = [self.either()]
        while self.takes(","):
            parts.append(self.either())
        self.must("]")
        return counted(kind, int(token.text), parts, place)

    def value(self, number: int, name: str) -> int:
        """The longest run of words that is a value of this choice."""
        values = self.names.choices[number].values
        for end in range(len(self.tokens), self.at, -1):
            said = " ".join(token.text for token in self.tokens[self.at : end])
            if said in values:
                self.at = end
                return values.index(said)
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        said = "nothing" if token is None else f"'{token.text}'"
        near = "." if token is None else hint(token.text, values)
        place = self.place()
        raise _wrong(
            f"'{name}' has no value {said}{near} It has: {', '.join(values)}.", place, "E101"
        )

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

    def unknown(self) -> SentenceError:
        """E101 for the words up to the next word of the grammar; E105 where there are none."""
        words = []
        for token in self.tokens[self.at :]:
            if not token.is_quoted and (token.text in _WORDS or token.text in "()[],="):
                break
            words.append(token.text)
        name = " ".join(words)
        if not name:
            return _wrong("A name is expected here.", self.place())
        near = hint(name, self.names.all())
        return _wrong(
            f"There is no class, attribute, tag or column '{name}'{near}", self.place(), "E101"
        )

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
            found = f"'{self.tokens[self.at].text}'" if self.at < len(self.tokens) else "the end"
            raise _wrong(f"'{word}' is expected here, found {found}.", self.place())

    def end(self) -> None:
        if self.at < len(self.tokens):
            rest = " ".join(token.text for token in self.tokens[self.at :])
            raise _wrong(
                f"The sentence should end before '{rest}'. Is 'and' or 'or' missing, or is a name "
                "not known?",
                self.place(),
            )

    def place(self) -> Place:
        if self.at < len(self.tokens):
            return Place(self.text.place.line, self.tokens[self.at].column)
        return self.text.place


def counted(kind: str, number: int, parts: Sequence[Formula], place: Place) -> Formula:
    """`exactly`, `at most` or `at least` so many of the parts.

    Raises:
        SentenceError: there are not so many parts, or it says nothing.
    """
    if number > len(parts):
        raise _wrong(f"There are only {len(parts)} things here, not {number}.", place)
    if (kind, number) == ("at least", 0) or (kind == "at most" and number == len(parts)):
        raise _wrong(f"'{kind} {number} of' {len(parts)} is always true.", place)
    least = 0 if kind == "at most" else number
    most = len(parts) if kind == "at least" else number
    return Count(tuple(parts), least, most)
