"""What is gathered while a rules file is read, section by section."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kenspeckle.knowledge.formulas import Formula, Is
from kenspeckle.knowledge.names import CLASS, Names, hint
from kenspeckle.knowledge.problems import Place, Problem
from kenspeckle.knowledge.sentences import SentenceError, read_listed, read_sentence
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
    """

    column: str
    factors: Mapping[str, Mapping[int, float]]
    place: Place


@dataclass
class Draft:
    """Names, rules and problems so far; what else a section leaves lies in `extras` by its name."""

    folder: Path | None = None
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

    def sentence(self, node: Node, what: str) -> Formula | None:
        """The formula of a sentence, or None with the problem noted."""
        if not isinstance(node, Text):
            self.problem("E105", f"{what} should be a sentence of one line.", node.place)
            return None
        return self._read(lambda: read_sentence(node, self.names))

    def listed(self, node: Node) -> list[Formula]:
        """The formulas of a list of sentences; those that cannot be read are noted and left out."""
        items = node.items if isinstance(node, Items) else (node,)
        found = (self._read(lambda item=item: read_listed(item, self.names)) for item in items)  # type: ignore[misc]
        return [formula for some in found if some is not None for formula in some]

    def _read(self, reading: Callable[[], Found]) -> Found | None:
        try:
            return reading()
        except SentenceError as error:
            self.problems.append(error.problem)
            return None

    def leaves(self, node: Node, what: str) -> frozenset[int] | None:
        """The leaves that a class name, or several with `|`, stands for; None noted."""
        if not isinstance(node, Text):
            self.problem("E105", f"{what} should be the name of a class.", node.place)
            return None
        formula = self._read(lambda: read_sentence(node, self.names))
        if formula is None:
            return None
        if not isinstance(formula, Is) or formula.choice != CLASS:
            self.problem("E106", f"{what} should be a class; '{node.text}' is none.", node.place)
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
            found = f"'{node.text}'" if isinstance(node, Text) else "a list or a table"
            between = ""
            if least > -math.inf:
                between = (
                    f" of {least:g} or more" if math.isinf(most) else f" from {least:g} to {most:g}"
                )
            self.problem("E107", f"{what} should be a number{between}, found {found}.", node.place)
            return None
        return value

    def table(self, node: Node, what: str) -> Table | None:
        """A table, or None with the problem noted; nothing at all is an empty one."""
        if isinstance(node, Text) and not node.text:
            return Table((), node.place)
        if not isinstance(node, Table):
            self.problem(
                "E108", f"{what} should be a table (name: what is said of it).", node.place
            )
            return None
        return node

    def items(self, node: Node, what: str) -> Sequence[Node]:
        """The members of a list; none, noted, where it is no list."""
        if isinstance(node, Items):
            return node.items
        if not (isinstance(node, Text) and not node.text):
            self.problem("E108", f"{what} should be a list, found something else.", node.place)
        return ()

    def texts(self, node: Node, what: str) -> list[Text]:
        """The members of a list that are plain texts, spaces joined; others are noted."""
        found = []
        for item in self.items(node, what):
            if isinstance(item, Text) and item.text:
                found.append(tidy(item))
            else:
                self.problem("E108", f"{what} should hold plain names.", item.place)
        return found

    def known_keys(
        self, table: Table, keys: Sequence[str], what: str
    ) -> Iterator[tuple[Text, Node]]:
        """The rows whose keys are among these; others are noted with the nearest."""
        for key, value in table:
            if key.text in keys:
                yield key, value
            else:
                words = f"{what} knows no '{key.text}'{hint(key.text, keys)} It knows: "
                self.problem("E109", words + ", ".join(keys) + ".", key.place)


def tidy(text: Text) -> Text:
    """The text with single spaces."""
    return Text(" ".join(text.text.split()), text.place)
