"""Sentences about one image as formulas over choices, and formulas as clauses.

Everything an image can be is a choice: one leaf of the classes, one value of an attribute, yes or
no of a tag. A literal says that a choice has one of some values, so `animal` is one literal over
leaves, and `not animal` is the literal with the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import comb
from typing import Literal as OneOf
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

NO, YES = 0, 1  # the values of a choice between no and yes
MOST_CLAUSES = 256  # of one sentence, before it counts as too tangled to be read by a person


@dataclass(frozen=True)
class Choice:
    """Something that has exactly one of its values.

    Args:
        name: in the words of the file; that of the leaves is `class`.
        values: names of the values; `("no", "yes")` for a tag and for a plain attribute.
        kind: `known` is a side column, which is told and never predicted.
    """

    name: str
    values: tuple[str, ...]
    kind: OneOf["class", "attribute", "tag", "known"]

    @property
    def is_plain(self) -> bool:
        """Whether it is a yes or no."""
        return self.values == ("no", "yes")


@dataclass(frozen=True)
class Is:
    """That choice number `choice` has one of `values`."""

    choice: int
    values: frozenset[int]


@dataclass(frozen=True)
class Not:
    """That something is not so."""

    part: Formula


@dataclass(frozen=True)
class All:
    """That all parts are so; of no parts, true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class Any:
    """That at least one part is so; of no parts, false."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class Count:
    """That at least `least` and at most `most` of the parts are so."""

    parts: tuple[Formula, ...]
    least: int
    most: int


Formula: TypeAlias = Is | Not | All | Any | Count
Clause: TypeAlias = tuple[Is, ...]
"""A disjunction, at most one literal a choice, in the order of choices; empty is never true."""
World: TypeAlias = Sequence[int]
"""The value of each choice."""


class TooTangled(Exception):
    """A sentence that would take more than `MOST_CLAUSES` clauses."""


def holds(formula: Formula, world: World) -> bool:
    """Whether a formula is true in a world, read off the formula itself and nothing made of it."""
    match formula:
        case Is(choice, values):
            return world[choice] in values
        case Not(part):
            return not holds(part, world)
        case All(parts):
            return all(holds(part, world) for part in parts)
        case Any(parts):
            return any(holds(part, world) for part in parts)
        case Count(parts, least, most):
            return least <= sum(holds(part, world) for part in parts) <= most


def holds_in(formula: Formula, worlds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`holds` for many worlds at once: (N, choices) -> (N,)."""
    match formula:
        case Is(choice, values):
            column = worlds[:, choice]
            if len(values) == 1:
                return column == next(iter(values))
            # A table of members, whose last entry answers for -1: 4 us where np.isin takes 30.
            is_member = np.zeros(max(int(column.max(initial=0)), *values, 0) + 2, dtype=bool)
            is_member[list(values)] = True
            return is_member[column]
        case Not(part):
            return ~holds_in(part, worlds)
        case All(parts):
            every = [holds_in(part, worlds) for part in parts]
            return np.all(every, axis=0) if every else np.ones(len(worlds), dtype=bool)
        case Any(parts):
            some = [holds_in(part, worlds) for part in parts]
            return np.any(some, axis=0) if some else np.zeros(len(worlds), dtype=bool)
        case Count(parts, least, most):
            found = np.zeros(len(worlds), dtype=np.int64)
            for part in parts:
                found += holds_in(part, worlds)
            return (found >= least) & (found <= most)


def is_count(formula: Formula) -> bool:
    """Whether it counts literals, for which there are algorithms that need no clauses."""
    return isinstance(formula, Count) and all(isinstance(part, Is) for part in formula.parts)


def choices_of(formula: Formula) -> set[int]:
    """The choices that a formula speaks of."""
    return {literal.choice for literal in literals_of(formula)}


def literals_of(formula: Formula) -> Iterator[Is]:
    """The literals in a formula, as it has them."""
    if isinstance(formula, Is):
        yield formula
        return
    for part in (formula.part,) if isinstance(formula, Not) else formula.parts:
        yield from literals_of(part)


def clauses_of(formula: Formula, choices: Sequence[Choice]) -> list[Clause]:
    """Clauses that together say the same; no clause that is always true, none twice.

    Raises:
        TooTangled: there would be too many.

    >>> day, night = Choice("day", ("no", "yes"), "tag"), Choice("night", ("no", "yes"), "tag")
    >>> both = All((Is(0, frozenset({YES})), Is(1, frozenset({YES}))))
    >>> clauses_of(Not(both), [day, night])
    [(Is(choice=0, values=frozenset({0})), Is(choice=1, values=frozenset({0})))]
    """
    return _Clauses(choices).of(formula, True)


class _Clauses:
    """Clauses of a formula, each part of it once: a count, spelt out, repeats its parts."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.choices = choices
        self.done: dict[tuple[Formula, bool], list[Clause]] = {}

    def of(self, formula: Formula, wanted: bool) -> list[Clause]:
        key = formula, wanted
        if key not in self.done:
            self.done[key] = self._made(formula, wanted)
        return self.done[key]

    def _made(self, formula: Formula, wanted: bool) -> list[Clause]:
        choices = self.choices
        match formula:
            case Is(choice, values):
                said = values if wanted else frozenset(range(len(choices[choice].values))) - values
                if len(said) == len(choices[choice].values):
                    return []
                return [(Is(choice, said),)] if said else [()]
            case Not(part):
                return self.of(part, not wanted)
            case Count():
                return self.of(_spelt(formula), wanted)
            case All(parts) | Any(parts):
                each = [self.of(part, wanted) for part in parts]
                if isinstance(formula, All) == wanted:
                    return _kept(clause for clauses in each for clause in clauses)
                if not all(each):
                    return []  # a part that is always true
                # Ten thousand single clauses one by one would take minutes.
                single = joined_clause((i for c in each if len(c) == 1 for i in c[0]), choices)
                several = [clauses for clauses in each if len(clauses) > 1]
                if single is None:
                    return []
                return reduce(lambda a, b: _either(a, b, choices), several, [single])


def _spelt(count: Count) -> Formula:
    """A count as: no `most + 1` of them together, and among any `n - least + 1` of them one."""
    n = len(count.parts)
    few = _subsets(count.parts, count.most + 1) if count.most < n else []
    many = _subsets(count.parts, max(0, n - count.least + 1)) if count.least > 0 else []
    return All((*(Not(All(some)) for some in few), *(Any(some) for some in many)))


def _subsets(parts: Sequence[Formula], size: int) -> list[tuple[Formula, ...]]:
    if comb(len(parts), size) > MOST_CLAUSES:
        raise TooTangled
    return list(combinations(parts, size))


def _either(one: list[Clause], other: list[Clause], choices: Sequence[Choice]) -> list[Clause]:
    if len(one) * len(other) > 4 * MOST_CLAUSES:
        raise TooTangled
    joined = (joined_clause((*a, *b), choices) for a in one for b in other)
    return _kept(clause for clause in joined if clause is not None)


def joined_clause(literals: Iterable[Is], choices: Sequence[Choice]) -> Clause | None:
    """A clause of these literals, those of one choice joined; None where it is always true."""
    values: dict[int, frozenset[int]] = {}
    for literal in literals:
        values[literal.choice] = values.get(literal.choice, frozenset()) | literal.values
    if any(len(said) == len(choices[choice].values) for choice, said in values.items()):
        return None
    return tuple(Is(choice, values[choice]) for choice in sorted(values) if values[choice])


def _kept(clauses: Iterable[Clause]) -> list[Clause]:
    """Each once, and none that a shorter one already says."""
    found: list[Clause] = []
    for clause in sorted(set(clauses), key=lambda c: (len(c), [sorted(i.values) for i in c])):
        if not any(_says(shorter, clause) for shorter in found):
            found.append(clause)
        if len(found) > MOST_CLAUSES:
            raise TooTangled
    return sorted(found, key=lambda c: [(i.choice, sorted(i.values)) for i in c])


def _says(one: Clause, other: Clause) -> bool:
    """Whether `one` being true makes `other` true, literal by literal."""
    said = {literal.choice: literal.values for literal in other}
    return all(literal.values <= said.get(literal.choice, frozenset()) for literal in one)


def given(clauses: Iterable[Clause], known: Mapping[int, int | None]) -> list[Clause]:
    """Clauses with the told choices filled in; one that speaks of an untold choice is left out.

    Args:
        known: choice -> its value, or None where nobody told it.
    """
    found = []
    for clause in clauses:
        told = [literal for literal in clause if literal.choice in known]
        values = [known[literal.choice] for literal in told]
        if None in values:
            continue
        if any(v in literal.values for v, literal in zip(values, told, strict=True)):
            continue
        found.append(tuple(literal for literal in clause if literal.choice not in known))
    return found


def count_given(count: Count, known: Mapping[int, int | None]) -> Count | None:
    """A count of literals with the told choices filled in; None where one of them is untold."""
    left: list[Formula] = []
    so = 0
    for part in count.parts:
        if not isinstance(part, Is) or part.choice not in known:
            left.append(part)
            continue
        value = known[part.choice]
        if value is None:
            return None
        so += value in part.values
    return Count(tuple(left), max(0, count.least - so), count.most - so)


def worlds_of(choices: Sequence[Choice]) -> Iterator[tuple[int, ...]]:
    """All there are, for a second opinion: their number is the product of the values'."""
    return product(*(range(len(choice.values)) for choice in choices))
