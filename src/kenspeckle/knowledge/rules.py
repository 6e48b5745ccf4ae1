"""A rules file, read and checked: what people know before any image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from kenspeckle.errors import DataError
from kenspeckle.knowledge.beside import Beside
from kenspeckle.knowledge.compiled import Compiled
from kenspeckle.knowledge.draft import Cost, Draft, Prior, Rule
from kenspeckle.knowledge.forms import FORMS, Form
from kenspeckle.knowledge.forms.frames import FramesRule
from kenspeckle.knowledge.forms.mirror import Mirrored
from kenspeckle.knowledge.forms.sums import SumRule
from kenspeckle.knowledge.forms.text import TextRule
from kenspeckle.knowledge.forms.weak import WeakRule
from kenspeckle.knowledge.formulas import (
    Choice,
    Clause,
    Formula,
    Is,
    TooTangled,
    clauses_of,
    is_count,
)
from kenspeckle.knowledge.names import CLASS, NOTHING, Names, hint, shown, some
from kenspeckle.knowledge.problems import Place, Problem, RulesError, errors_of, in_order
from kenspeckle.knowledge.proof import proven
from kenspeckle.knowledge.sentences import SentenceError, read_sentence
from kenspeckle.knowledge.source import SourceError, Table, Text, read

VERSION = "1"
HEAD = "ken-rules"
TOLD = "told"  # the name of what a person says of one image
MOST_CIRCLES = 10  # that are told
MOST_STEPS = 10  # of each


@dataclass(frozen=True)
class Rules:
    """What a rules file says.

    Args:
        file: the name that messages say.
        text: the whole file, which travels in the model file.
        choices: the leaves first, then attributes, tags and side columns.
        below: class name -> the leaves below it; a leaf has itself.
        parents: class name -> the names right above it, each with its place.
        rules: in the order of the file.
        clauses: of each rule, in that order; None where a count would take too many.
        unseen: leaves without images.
        places: name -> where it is given.
        warnings: what is worth a look.
        tables: name -> text of the tables that it names.
    """

    file: str
    text: str
    choices: tuple[Choice, ...]
    below: Mapping[str, frozenset[int]]
    parents: Mapping[str, Mapping[str, Place]]
    rules: tuple[Rule, ...]
    clauses: tuple[tuple[Clause, ...] | None, ...]
    unseen: tuple[str, ...] = ()
    costs: tuple[Cost, ...] = ()
    priors: tuple[Prior, ...] = ()
    mirrored: tuple[Mirrored, ...] = ()
    texts: tuple[TextRule, ...] = ()
    frames: FramesRule | None = None
    sums: tuple[SumRule, ...] = ()
    weak: tuple[WeakRule, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The classes that an image can be."""
        return () if self.choices[CLASS].values == (NOTHING,) else self.choices[CLASS].values

    @property
    def known(self) -> tuple[int, ...]:
        """The choices that are told: side columns."""
        return tuple(i for i, choice in enumerate(self.choices) if choice.kind == "known")

    @cached_property
    def number(self) -> Mapping[str, int]:
        """Choice name -> its number."""
        return {choice.name: i for i, choice in enumerate(self.choices)}

    @classmethod
    def load(cls, path: str | Path) -> Rules:
        """Read a file and check it.

        Raises:
            RulesError: with every fault found, each with its line.
            DataError: the file cannot be read.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RulesError(path.name, [_no_text(data, error.start)]) from None
        return cls.parse(text, path.name, Beside(path.parent))

    @classmethod
    def parse(cls, text: str, file: str = "rules.yaml", beside: Beside | None = None) -> Rules:
        """Read a text and check it.

        Args:
            beside: where tables that it names are found.

        Raises:
            RulesError: with every fault found.
        """
        rules = cls.drafted(text, file, beside)
        problems = proven(rules)
        if errors_of(problems):
            raise RulesError(file, [*rules.warnings, *problems])
        return replace(rules, warnings=tuple(in_order([*rules.warnings, *problems])))

    @classmethod
    def drafted(cls, text: str, file: str = "rules.yaml", beside: Beside | None = None) -> Rules:
        """Read a text, without asking whether its rules can hold together.

        Raises:
            RulesError: a section, a name or a sentence is wrong.
        """
        draft = Draft(beside or Beside())
        try:
            table = read(text, draft.problems)
        except SourceError as error:
            raise RulesError(file, [error.problem]) from None
        _read_sections(table, draft)
        clauses = _clauses(draft)
        draft.problems = list(dict.fromkeys(draft.problems))
        if errors_of(draft.problems):
            raise RulesError(file, draft.problems)
        return cls(
            file=file,
            text=text,
            choices=tuple(draft.names.choices),
            below=_below(draft),
            parents=draft.edges,
            rules=tuple(draft.rules),
            clauses=clauses,
            unseen=tuple(draft.unseen),
            places=draft.names.places,
            warnings=tuple(draft.problems),
            costs=draft.kept("costs", Cost),
            priors=draft.kept("priors", Prior),
            mirrored=draft.kept("mirror", Mirrored),
            texts=draft.kept("text", TextRule),
            frames=next(iter(draft.kept("frames", FramesRule)), None),
            sums=draft.kept("sums", SumRule),
            weak=draft.kept("weak", WeakRule),
            tables=draft.beside.texts,
        )

    def kept(self) -> dict[str, Any]:
        """What a model file carries of it, as plain values; `carried` undoes it."""
        return {"file": self.file, "text": self.text, "tables": dict(self.tables)}

    @classmethod
    def carried(cls, kept: Mapping[str, Any]) -> Rules:
        """The rules that `kept` wrote down; they were proved when they were read.

        Raises:
            RulesError, DataError: that is no rules file.
        """
        text, file, tables = (kept.get(name) for name in ("text", "file", "tables"))
        if not (isinstance(text, str) and isinstance(file, str) and isinstance(tables, Mapping)):
            raise DataError("The rules of the model file are damaged.")
        return cls.drafted(text, file, Beside(carried=tables))

    @cached_property
    def _names(self) -> Names:
        names = Names()
        names.set_leaves(self.leaves)
        for choice in self.choices[1:]:
            names.add_choice(choice, Place(1, 1))
        for name, leaves in self.below.items():
            names.say(name, Is(CLASS, leaves), Place(1, 1))
        return names

    def said(self, label: str) -> Formula:
        """What a label says: a leaf, a parent, `!husky` (not this), `husky|malamute` (either).

        Raises:
            DataError: a name is not known, or it says things of two kinds.
        """
        wanted = not label.startswith("!")
        values: set[int] = set()
        number = CLASS
        for part in label.removeprefix("!").split("|"):
            try:
                formula = read_sentence(Text(part.strip(), Place(1, 1)), self._names)
            except SentenceError as error:
                raise DataError(f"The label '{label}': {error}") from None
            if not isinstance(formula, Is):
                return formula
            if values and formula.choice != number:
                raise DataError(f"The label '{label}' says things of two kinds; give a mapping.")
            number = formula.choice
            values |= formula.values
        every = frozenset(range(len(self.choices[number].values)))
        left = frozenset(values) if wanted else every - values
        if not left:
            raise DataError(f"The label '{label}' leaves nothing that the image could show.")
        return Is(number, left)

    def with_told(self, told: Mapping[str, str]) -> Rules:
        """The same, and that something is known of one image: a person looked.

        Args:
            told: name of an attribute or tag -> its value, or `class` -> what a label may say.

        Raises:
            DataError: there is no such value.
        """
        found = []
        for name, value in told.items():
            number = self.number[name]
            formula: Formula
            if number == CLASS:
                formula = self.said(value)
            else:
                values = self.choices[number].values
                if value not in values:
                    raise DataError(
                        f"'{name}' has no value '{value}'{hint(value, values)} It has: "
                        f"{', '.join(values)}."
                    )
                formula = Is(number, frozenset({values.index(value)}))
            found.append(Rule(TOLD, Place(0, 0), f"{name} is {value}", formula, form=TOLD))
        clauses = [tuple(clauses_of(rule.formula, self.choices)) for rule in found]
        return replace(self, rules=(*self.rules, *found), clauses=(*self.clauses, *clauses))

    def compile(self, outputs: Sequence[str] | None = None) -> Compiled:
        """The distribution over answers, for logits that stand for these names.

        Args:
            outputs: what each logit is, in order: leaves (all that have images), tags, plain
                attributes, or `shape is octagon` for a value of another; None is all of them in
                the order of the file.

        Raises:
            UsageError: a name is not known, or leaves are missing.
        """
        return Compiled(self, outputs)


def _no_text(data: bytes, at: int) -> Problem:
    """That a file is no UTF-8, by its first byte that is none."""
    before = data[:at].decode("utf-8", "replace")
    place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
    words = "The letter here is not written as UTF-8. Save the file as UTF-8 in your editor."
    return Problem("E001", words, place)


def _read_sections(table: Table, draft: Draft) -> None:
    known = [HEAD, *FORMS]
    sections = {}
    for key, value in table:
        if key.text == HEAD:
            if not (isinstance(value, Text) and value.text == VERSION):
                found = f"version {shown(value.text)}" if isinstance(value, Text) else "no version"
                words = f"This is {found}; version {VERSION} is read. Write `{HEAD}: {VERSION}`."
                draft.problem("E005", words, value.place)
        elif key.text in FORMS:
            sections[key.text] = value
        else:
            words = f"There is no section {shown(key.text)}{hint(key.text, known)} Sections: "
            draft.problem("E006", words + ", ".join(FORMS) + ".", key.place)
    forms: dict[str, Form] = {name: FORMS.load(name)() for name in FORMS if name in sections}
    for name in ("classes", "unseen"):
        if name in forms:
            forms[name].declare(sections[name], draft)
    _name_classes(draft)
    for name, form in forms.items():
        if name not in ("classes", "unseen"):
            form.declare(sections[name], draft)
    for name, form in forms.items():
        form.state(sections[name], draft)
    draft.rules = _named(draft.rules)


def _name_classes(draft: Draft) -> None:
    """Give each class its set of leaves, or note that they go in a circle."""
    for _ in range(MOST_CIRCLES):
        circle = _circle(draft.edges)
        if circle is None:
            break
        steps = [draft.edges[one].pop(other) for one, other in pairwise([*circle, circle[0]])]
        lines = list(dict.fromkeys(str(step.line) for step in sorted(steps)))
        if len(circle) > MOST_STEPS:
            circle = [*circle[:MOST_STEPS], "..."]
        words = (
            "These classes go in a circle, each a kind of the next: "
            f"{' -> '.join([*circle, circle[0]])} ({'lines' if len(lines) > 1 else 'line'} "
            f"{some(lines)}). Take one of these steps out."
        )
        draft.problem("E102", words, max(steps), *sorted(steps)[:-1])
    has_children = {parent for parents in draft.edges.values() for parent in parents}
    leaves = [name for name in draft.edges if name not in has_children]
    draft.names.set_leaves(leaves or [NOTHING])
    for name, leaves_ in _below(draft).items():
        draft.names.say(name, Is(CLASS, leaves_), draft.names.places[name])


def _circle(edges: Mapping[str, Mapping[str, Place]]) -> list[str] | None:
    done: set[str] = set()
    for begin in edges:
        stack = [(begin, iter(edges[begin]))] if begin not in done else []
        path = [begin]
        while stack:
            name, rest = stack[-1]
            above = next(rest, None)
            if above is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif above in path:
                return path[path.index(above) :]
            elif above not in done:
                stack.append((above, iter(edges.get(above, {}))))
                path.append(above)
    return None


def _below(draft: Draft) -> dict[str, frozenset[int]]:
    """The leaves below each name."""
    found: dict[str, set[int]] = {name: set() for name in draft.edges}
    for number, leaf in enumerate(draft.names.choices[CLASS].values):
        above = [] if leaf == NOTHING else [leaf]
        while above:
            name = above.pop()
            if number not in found[name]:
                found[name].add(number)
                above += draft.edges[name]
    return {name: frozenset(leaves) for name, leaves in found.items()}


def _named(rules: list[Rule]) -> list[Rule]:
    lines = Counter(rule.place.line for rule in rules)
    seen: set[str] = set()
    found = []
    for rule in sorted(rules, key=lambda rule: rule.place):
        line, column = rule.place
        name = f"L{line}" if lines[line] == 1 else f"L{line}:{column}"
        while name in seen:
            name += "'"
        seen.add(name)
        found.append(replace(rule, name=name))
    return found


def _clauses(draft: Draft) -> tuple[tuple[Clause, ...] | None, ...]:
    found: list[tuple[Clause, ...] | None] = []
    for rule in draft.rules:
        try:
            found.append(tuple(clauses_of(rule.formula, draft.names.choices)))
        except TooTangled:
            if is_count(rule.formula):
                found.append(None)
                continue
            words = (
                "This sentence stands for over 256 simple ones, too many to be explained later. "
                "Write it as several rules."
            )
            draft.problem("E105", words, rule.place)
            continue
        if found[-1] == ():
            words = f"{shown(rule.words)} is true of every image, so it may be left out."
            draft.problem("W203", words, rule.place)
    return tuple(found)
