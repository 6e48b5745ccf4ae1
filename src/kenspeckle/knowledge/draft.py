"""What is gathered while a rules file is read, section by section."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kenspeckle.knowledge.beside import Beside
from kenspeckle.knowledge.formulas import Formula, Is
from kenspeckle.knowledge.names import CLASS, LONGEST, Names, shown, some
from kenspeckle.knowledge.problems import Place, Problem
from kenspeckle.knowledge.sentences import SentenceError, read_sentence
from kenspeckle.knowledge.source import Items, Node, Table, Text

Found = TypeVar("Found")


@dataclass(frozen=True)
class Rule:
    """One thing that the file says of every image.

    Args:
        name: `L6`, by its line; `L6:40` where a line holds several.
        place: where it stands.
        words: as it was written, or as a person would say it.
        formula: what it says.
        strength: None is hard; else breaking it costs a factor of exp(-strength).
        form: the section it stands in.
    """

    name: str
    place: Place
    words: str
    formula: Formula
    strength: float | None = None
    form: str = "rules"


@dataclass(frozen=True)
class Cost:
    """What it costs to answer one class where another is true; answered None is `unsure`."""

    truth: frozenset[int]
    answered: frozenset[int] | None
    cost: float
    place: Place


@dataclass(frozen=True)
class Prior:
    """How much likelier a side column makes each class.

    Args:
        column: of the index file.
        factors: value of the column -> leaf -> factor; leaves without one keep theirs.
        is_whole: the column has no other values: it came as a table.
    """

    column: str
    factors: Mapping[str, Mapping[int, float]]
    place: Place
    is_whole: bool = False


@dataclass
class Draft:
    """Names, rules and problems so far; what else a section leaves lies in `extras` by its name."""

    beside: Beside = field(default_factory=Beside)
    names: Names = field(default_factory=Names)
    edges: dict[str, dict[str, Place]] = field(default_factory=dict)
    unseen: dict[str, Place] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    extras: dict[str, list[object]] = field(default_factory=dict)

    def problem(self, code: str, words: str, place: Place, *others: Place) -> None:
        """Note a fault and read on: all of them are told at once."""
        self.problems.append(Problem(code, words, place, others))

    def add(self, form: str, node: object) -> None:
        """Keep something that is no rule over single images."""
        self.extras.setdefault(form, []).append(node)

    def kept(self, form: str, kind: type[Found]) -> tuple[Found, ...]:
        """What `add` kept for a section."""
        return tuple(item for item in self.extras.get(form, ()) if isinstance(item, kind))

    def add_rule(
        self,
        place: Place,
        words: str,
        formula: Formula,
        strength: float | None = None,
        form: str = "rules",
    ) -> None:
        """A rule; its name is found when all are there."""
        self.rules.append(Rule("", place, words, formula, strength, form))

    def name(self, text: Text) -> Text | None:
        """A name with single spaces, or None with the problem noted."""
        name = tidy(text)
        if not name.text:
            self.problem("E108", "A name is missing here.", text.place)
        elif len(name.text) > LONGEST:
            words = f"{shown(name.text, 20)} has {len(name.text)} letters; a name has {LONGEST} "
            words += "at most. Is a comma missing?"
            self.problem("E108", words, text.place)
        else:
            return name
        return None

    def new_name(self, text: Text) -> Text | None:
        """A name that means nothing yet, or None with the problem noted."""
        name = self.name(text)
        if name is not None and name.text == self.names.choices[CLASS].name:
            words = f"'{name.text}' is what answers call the kind of thing in an image."
            self.problem("E110", words + " Give this another name.", name.place)
            return None
        if name is not None and (name.text in self.edges or self.names.is_taken(name.text)):
            other = self.names.places[name.text]
            words = f"'{name.text}' is in use already (line {other.line}). Give one of both "
            words += "another name, or take it out."
            self.problem("E110", words, name.place, other)
            return None
        return name

    def sentence(self, node: Node, what: str) -> Formula | None:
        """The formula of a sentence, or None with the problem noted."""
        if not isinstance(node, Text):
            words = f"{what} should be a sentence, as 'night and not snow', found {_kind(node)}."
            self.problem("E105", words, node.place)
            return None
        try:
            return read_sentence(node, self.names)
        except SentenceError as error:
            self.problems.append(error.problem)
            return None

    def listed(self, node: Node) -> list[Formula | None]:
        """The formulas of a list of sentences, or of one; None, noted, for what cannot be read."""
        items = node.items if isinstance(node, Items) else (node,)
        return [self.sentence(item, "What is counted") for item in items]

    def leaves(self, node: Node, what: str) -> frozenset[int] | None:
        """The leaves that a class name stands for; None, noted, where it is none."""
        if not isinstance(node, Text):
            words = f"{what} should be the name of a class, found {_kind(node)}."
            self.problem("E105", words, node.place)
            return None
        name = tidy(node).text
        formula = self.names.meaning(name)
        if formula is None and self.names.number(name) is None:
            near = self.names.hint(name, self.edges)
            words = f"{what} should be a class; there is no {shown(name)}{near}"
            if near == ".":
                words += " Check its spelling, or add it to `classes`."
            self.problem("E101", words, node.place)
            return None
        if not isinstance(formula, Is) or formula.choice != CLASS:
            self.problem("E106", f"{what} should be a class; {shown(name)} is none.", node.place)
            return None
        return formula.values

    def number(
        self, node: Node, what: str, least: float = -math.inf, most: float = math.inf
    ) -> float | None:
        """A finite number in a range, or None with the problem noted."""
        try:
            value = float(node.text) if isinstance(node, Text) else math.nan
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            between = ""
            if least > -math.inf:
                between = (
                    f" of {least:g} or more" if math.isinf(most) else f" from {least:g} to {most:g}"
                )
            words = f"{what} should be a number{between}, found {_kind(node)}."
            if isinstance(node, Text) and "," in node.text:
                words += " Write a point in place of the comma."
            self.problem("E107", words, node.place)
            return None
        return value

    def table(self, node: Node, what: str) -> Table | None:
        """A table, or None with the problem noted; nothing at all is an empty one."""
        if isinstance(node, Text) and not node.text:
            return Table((), node.place)
        if not isinstance(node, Table):
            words = (
                f"{what} should be a table, as {{name: what is said of it}}, found {_kind(node)}."
            )
            self.problem("E108", words, node.place)
            return None
        return node

    def items(self, node: Node, what: str) -> Sequence[Node]:
        """The members of a list; none, noted, where it is no list."""
        if isinstance(node, Items):
            return node.items
        if not (isinstance(node, Text) and not node.text):
            words = f"{what} should be a list, as [one, two], found {_kind(node)}."
            self.problem("E108", words, node.place)
        return ()

    def texts(self, node: Node, what: str, least: int = 0) -> list[Text]:
        """The members of a list that are names; others are noted, and that there are too few."""
        found = []
        items = self.items(node, what)
        if len(items) < least and (isinstance(node, Items) or not str(node)):
            words = f"{what} should be at least {least}, as [one, two], found {len(items)}."
            self.problem("E108", words, node.place)
        for item in items:
            if isinstance(item, Text):
                name = self.name(item)
                found += [] if name is None else [name]
            else:
                words = f"{what} should hold names, each by itself, found {_kind(item)}."
                self.problem("E108", words, item.place)
        return found

    def no_value(self, name: str, number: int, found: Node) -> None:
        """Note that a choice has no such value."""
        values = self.names.choices[number].values
        if not values:
            return  # noted already
        near = self.names.hint(found.text, values) if isinstance(found, Text) else "."
        words = f"{shown(name)} has no value {_kind(found)}{near} It has: {some(values)}."
        self.problem("E101", words, found.place)

    def known_keys(
        self, table: Table, keys: Sequence[str], what: str
    ) -> Iterator[tuple[Text, Node]]:
        """The rows whose keys are among these; others are noted with the nearest."""
        for key, value in table:
            if key.text in keys:
                yield key, value
            else:
                near = self.names.hint(key.text, keys)
                words = f"{what} has no {shown(key.text)}{near} It may have: {', '.join(keys)}."
                self.problem("E109", words, key.place)


def tidy(text: Text) -> Text:
    """The text with single spaces."""
    return replace(text, text=" ".join(text.text.split()))


def _kind(node: Node) -> str:
    """What a person sees there."""
    if isinstance(node, Text):
        return shown(node.text) if node.text else "nothing"
    return "a list" if isinstance(node, Items) else "a table"
