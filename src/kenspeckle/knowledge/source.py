"""YAML as plain texts, lists and tables, each with its line and column; nothing is converted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from kenspeckle.knowledge.problems import Place, Problem

MOST_BYTES = 8 * 2**20  # 5000 rules are 0.12 MB
DEEPEST = 40


@dataclass(frozen=True)
class Text:
    """A word or a sentence; `yes`, `no`, `on` and numbers stay as they were written.

    Args:
        written: the file from `place` on, with quotation marks and the like blanked out, so that
            both have the same letters but for spaces.
    """

    text: str
    place: Place
    written: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    def at(self, offset: int) -> Place:
        """Where a letter of the text stands in the file, also when it goes over several lines.

        >>> Text("night and snow", Place(4, 3), "night\\n  and snow").at(10)
        Place(line=5, column=7)
        """
        line, column = self.place
        left = sum(not letter.isspace() for letter in self.text[:offset])
        for letter in self.written or self.text:
            if not letter.isspace():
                if not left:
                    break
                left -= 1
            line, column = (line + 1, 1) if letter == "\n" else (line, column + 1)
            if not left and offset >= len(self.text):
                break
        return Place(line, column)


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


def read(text: str, faults: list[Problem]) -> Table:
    """A rules file as a table.

    Args:
        faults: takes what leaves the rest readable: a key that stands twice.

    Raises:
        SourceError: it is no YAML, or has what rules must not have: anchors and aliases (by which
            a small file grows without end), tags, several documents.

    >>> read("tags: [yes, no]", []).get("tags").items[0].text
    'yes'
    """
    text = text.removeprefix("\ufeff")
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise SourceError(_problem("E003", f"It is larger than {MOST_BYTES >> 20} MiB.", 1, 1))
    hidden = _HIDDEN.search(text)
    if hidden is not None:
        before = text[: hidden.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        words = f"A sign that cannot be seen stands here (code {ord(hidden[0])}). Delete it."
        raise SourceError(_problem("E001", words, line, column))
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise SourceError(_no_yaml(error, text)) from None
    except (yaml.YAMLError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise SourceError(_problem("E001", f"This is no YAML: {said}.", 1, 1)) from None
    if node is None:
        raise SourceError(_problem("E002", "The file is empty. `ken rules init` writes one.", 1, 1))
    table = _node(node, text, faults)
    if not isinstance(table, Table):
        found = "a list" if isinstance(table, Items) else "a text"
        words = (
            f"A rules file is a table of sections, such as `classes:` and `rules:`, each with a "
            f"colon; this is {found}."
        )
        raise SourceError(Problem("E002", words, table.place))
    return table


# The loader in C reads 5000 rules in 0.11 s, the one in Python in 0.19 s.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What YAML has no place for, but for line ends and tabs.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]"
)

# What the loaders say, in C and in Python; what it means; and whether it is meant where the
# thing began that the loader was in.
_SAID = (
    ("',' or ']'", "The list that begins here has no ']' at its end, or lacks a comma.", True),
    ("',' or '}'", "The table that begins here has no '}' at its end, or lacks a comma.", True),
    ("end of stream", "The quotation mark that opens here is never closed.", True),
    (
        "sequence entries are not allowed",
        "A list cannot begin in the line of its name. Put '- ' on a line of its own below.",
        False,
    ),
    (
        "mapping values are not allowed",
        "This colon is one too many. Put a text that holds a colon into quotation marks; or the "
        "line begins too far to the right.",
        False,
    ),
    (
        "expected ':'",
        "This line is neither `name: ...` nor `- ...`. A colon may be missing, or it begins too "
        "far to the left or right.",
        True,
    ),
    (
        "tab character",
        "A tab stands here. Use spaces at the beginning of a line.",
        False,
    ),
    (
        "escape c",
        "In double quotation marks a backslash has a meaning of its own. Use single ones.",
        False,
    ),
    (
        "did not find expected",
        "This does not fit what stands before it. A bracket or a quotation mark may be one too "
        "many, or the line begins too far to the left or right.",
        False,
    ),
)


def _no_yaml(error: yaml.MarkedYAMLError, text: str) -> Problem:
    """What the loader found, in words for someone who does not know YAML."""
    said = error.problem or "it cannot be read"
    known = next(((words, begin) for part, words, begin in _SAID if part in said), None)
    mark = error.problem_mark or error.context_mark
    if known is not None and known[1]:
        mark = error.context_mark or mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines() or [""]
    if line > len(lines):
        words = "The file ends, and a bracket or a quotation mark is still open."
        return _problem("E001", words, len(lines), len(lines[-1]) + 1)
    if known is not None:
        return _problem("E001", known[0], line, column)
    if "cannot start any token" in said:
        letter = lines[line - 1][column - 1 : column]
        words = f"A text cannot begin with {letter}. Put it into quotation marks."
        if letter == "\t":
            words = "A tab stands here. Use spaces at the beginning of a line."
        return _problem("E001", words, line, column)
    return _problem("E001", f"This is no YAML: {said}. Look for a slip of the pen.", line, column)


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
            words = f"Words with '!' before a text ({event.tag}) are not read. Leave it out, or "
            words += "put the text into quotation marks."
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


def _node(node: yaml.Node, text: str, faults: list[Problem]) -> Node:
    place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.ScalarNode):
        written = _written(node, text)
        dash = _DASH.search(written)
        if dash is not None and not node.style:
            line = place.line + written[: dash.start(1)].count("\n")
            column = dash.start(1) - written.rfind("\n", 0, dash.start(1))
            words = (
                f"The '- ' here begins further to the right than the one above, so that it belongs "
                f"to the text of line {place.line}. Put both one below the other."
            )
            faults.append(_problem("E001", words, line, column))
            return Text(" ".join(written[: dash.start()].split()), place, written)
        return Text(str(node.value).strip(), place, written)
    if isinstance(node, yaml.SequenceNode):
        return Items(tuple(_node(child, text, faults) for child in node.value), place)
    rows: list[tuple[Text, Node]] = []
    seen: dict[str, Place] = {}
    for key, value in node.value:
        name = _node(key, text, faults)
        if not isinstance(name, Text):
            words = "A word should stand before the colon, not a list or a table."
            faults.append(Problem("E003", words, name.place))
            continue
        said = _node(value, text, faults)
        if name.text in seen:
            words = (
                f"'{name.text}' stands here twice; the first is in line {seen[name.text].line}. "
                "Join the two."
            )
            faults.append(Problem("E004", words, name.place, (seen[name.text],)))
            continue
        seen[name.text] = name.place
        rows.append((name, said))
    return Table(tuple(rows), place)


_DASH = re.compile(r"\n\s*(- )")


def _written(node: yaml.ScalarNode, text: str) -> str:
    """What stands in the file, with the same letters as the value but for spaces."""
    raw = text[node.start_mark.index : node.end_mark.index]
    if node.style == "'":
        return " " + raw[1:-1].replace("''", "' ")
    if node.style == '"':
        return " " + raw[1:-1].replace('\\"', '" ')
    if node.style in ("|", ">"):
        head, _, rest = raw.partition("\n")
        return " " * len(head) + "\n" + rest
    return raw


def _problem(code: str, words: str, line: int, column: int) -> Problem:
    return Problem(code, words, Place(line, column))
