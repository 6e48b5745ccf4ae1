"""YAML as plain texts, lists and tables, each with its line and column; nothing is converted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from kenspeckle.knowledge.problems import Place, Problem

MOST_BYTES = 8 * 2**20  # 5000 rules are 0.4 MB
DEEPEST = 40


@dataclass(frozen=True)
class Text:
    """A word or a sentence; `yes`, `no`, `on` and numbers stay as they were written."""

    text: str
    place: Place

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)


@dataclass(frozen=True)
class Table:
    """Keys and values in the order of the file."""

    rows: tuple[tuple[Text, Node], ...]
    place: Place

    def __iter__(self) -> Iterator[tuple[Text, Node]]:
        return iter(self.rows)

    def get(self, name: str) -> Node | None:
        """The value of a key, or None."""
        return next((value for key, value in self.rows if key.text == name), None)


Node: TypeAlias = Text | Items | Table


class SourceError(Exception):
    """A text that is no YAML of the plain kind; `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.words)
        self.problem = problem


def read(text: str) -> Table:
    """A rules file as a table.

    Raises:
        SourceError: it is no YAML, or has what rules must not have: a key twice, anchors and
            aliases (by which a small file grows without end), tags, several documents.

    >>> read("tags: [yes, no]").get("tags").items[0].text
    'yes'
    """
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise SourceError(_problem("E003", f"It is larger than {MOST_BYTES >> 20} MiB.", 1, 1))
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        said = error.problem or "it cannot be read"
        raise SourceError(_problem("E001", f"This is no YAML: {said}.", line, column)) from None
    except (yaml.YAMLError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise SourceError(_problem("E001", f"This is no YAML: {said}.", 1, 1)) from None
    if node is None:
        raise SourceError(_problem("E002", "The file is empty. `ken rules init` writes one.", 1, 1))
    table = _node(node)
    if not isinstance(table, Table):
        words = "A rules file is a table of sections, such as `classes:` and `rules:`."
        raise SourceError(Problem("E002", words, table.place))
    return table


# The loader in C reads 5000 rules in 0.1 s, the one in Python in 1.5 s.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_events(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark = event.start_mark
        assert mark is not None
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            words = "Anchors (&) and aliases (*) are not read. Write the text out."
            raise SourceError(_problem("E003", words, line, column))
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            words = f"Tags such as {event.tag} are not read. Leave it out, or quote the text."
            raise SourceError(_problem("E003", words, line, column))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                words = f"Lists and tables are nested over {DEEPEST} deep."
                raise SourceError(_problem("E003", words, line, column))
        depth -= isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            words = "A second document (---) begins here. Put everything into one."
            raise SourceError(_problem("E003", words, line, column))


def _node(node: yaml.Node) -> Node:
    place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.ScalarNode):
        return Text(str(node.value).strip(), place)
    if isinstance(node, yaml.SequenceNode):
        return Items(tuple(_node(child) for child in node.value), place)
    rows: list[tuple[Text, Node]] = []
    seen: dict[str, Place] = {}
    for key, value in node.value:
        name = _node(key)
        if not isinstance(name, Text):
            raise SourceError(
                Problem("E003", "A key is a word, not a list or a table.", name.place)
            )
        if name.text in seen:
            words = (
                f"'{name.text}' stands here twice; the first is in line {seen[name.text].line}. "
                "Join the two."
            )
            raise SourceError(Problem("E004", words, name.place, (seen[name.text],)))
        seen[name.text] = name.place
        rows.append((name, _node(value)))
    return Table(tuple(rows), place)


def _problem(code: str, words: str, line: int, column: int) -> Problem:
    return Problem(code, words, Place(line, column))
