"""Choices, literals and counts as clauses over numbered variables, for SAT solvers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from pysat.card import CardEnc, EncType

from kenspeckle.knowledge.formulas import YES, Count, Is

PAIRWISE = 6  # values of a choice up to which "not both" is said of each pair


class Encoding:
    """Each choice of two values is a variable, any other one a variable a value, one of them true.

    Args:
        sizes: choice -> how many values it has.
        add: takes each clause, a list of signed variables.

    >>> clauses = []
    >>> encoding = Encoding({0: 2, 1: 3}, clauses.append)
    >>> encoding.literal(Is(0, frozenset({1}))), encoding.literal(Is(1, frozenset({0})))
    (1, 2)
    >>> clauses
    [[-2, -3], [-2, -4], [-3, -4], [2, 3, 4]]
    """

    def __init__(self, sizes: Mapping[int, int], add: Callable[[list[int]], object]) -> None:
        self.sizes, self.add = sizes, add
        self.top = 0
        self.values: dict[int, list[int]] = {}
        self.sets: dict[tuple[int, frozenset[int]], int] = {}
        for choice, count in sizes.items():
            self._add_choice(choice, count)

    def new(self) -> int:
        """A variable of which nothing is said yet."""
        self.top += 1
        return self.top

    def literal(self, part: Is) -> int:
        """The number that says it; sets of many leaves get one of their own."""
        values, count = self.values[part.choice], self.sizes[part.choice]
        if count == 2 and len(part.values) == 1:
            return values[0] if YES in part.values else -values[0]
        if len(part.values) == 1:
            return values[next(iter(part.values))]
        if part.values and len(part.values) == count - 1:
            (other,) = set(range(count)) - part.values
            return -values[other]
        if 2 * len(part.values) > count:
            return -self.literal(Is(part.choice, frozenset(range(count)) - part.values))
        key = (part.choice, part.values)
        if key not in self.sets:
            self.sets[key] = self.new()
            members = [values[value] for value in part.values]
            self.add([-self.sets[key], *members])
            for member in members:
                self.add([-member, self.sets[key]])
        return self.sets[key]

    def count(self, formula: Count, selector: int) -> None:
        """That where `selector` is true, so many of the literals are."""
        parts = [self.literal(part) for part in formula.parts if isinstance(part, Is)]
        for encode, bound in ((CardEnc.atleast, formula.least), (CardEnc.atmost, formula.most)):
            if (encode is CardEnc.atleast and bound > 0) or bound < len(parts):
                card = encode(parts, bound, self.top, encoding=EncType.seqcounter)
                self.top = max(self.top, card.nv)
                for clause in card.clauses:
                    self.add([*clause, -selector])

    def _add_choice(self, choice: int, count: int) -> None:
        if count == 2:
            self.values[choice] = [self.new()]
            return
        values = self.values[choice] = [self.new() for _ in range(count)]
        if count <= PAIRWISE:
            for one, other in combinations(values, 2):
                self.add([-one, -other])
        elif count:
            card = CardEnc.atmost(values, 1, self.top, encoding=EncType.seqcounter)
            self.top = max(self.top, card.nv)
            for clause in card.clauses:
                self.add(clause)
        self.add(values)
