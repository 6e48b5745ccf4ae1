"""What can be proved of a rules file before any image: that it can hold, and what it forces.

By a SAT solver (python-sat): each choice of two values is a variable, any other one a variable a
value of which exactly one is true; each rule has a selector, so that the solver names the rules of
a contradiction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from pysat.card import CardEnc, EncType
from pysat.solvers import Solver

from kenspeckle.knowledge.formulas import YES, Clause, Count, Is
from kenspeckle.knowledge.names import CLASS
from kenspeckle.knowledge.problems import Place, Problem

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules

SOLVER = "glucose4"
MOST_OPTIONS = 5  # ways out of a contradiction that are told
MOST_FOR_FOLLOWING = (
    400  # rules; asking of each whether it follows takes the square of their number
)
PAIRWISE = 6  # values of a choice up to which "not both" is said of each pair


class Proof:
    """A solver that knows a file's choices and hard rules.

    Args:
        rules: what is asked about.
        without: numbers of rules that are left out.
    """

    def __init__(self, rules: Rules, without: Iterable[int] = ()) -> None:
        self.rules = rules
        self.solver = Solver(name=SOLVER)
        self.top = 0
        self.values: list[list[int]] = []
        self.sets: dict[tuple[int, frozenset[int]], int] = {}
        for choice in rules.choices:
            self._add_choice(len(choice.values))
        left_out = set(without)
        self.selectors: dict[int, int] = {}
        for number, (rule, clauses) in enumerate(zip(rules.rules, rules.clauses, strict=True)):
            if rule.strength is None and number not in left_out:
                self.selectors[number] = self._new()
                if clauses is None:
                    assert isinstance(rule.formula, Count)
                    self._count(rule.formula, self.selectors[number])
                for clause in clauses or ():
                    literals = [self.literal(part) for part in clause]
                    self.solver.add_clause([*literals, -self.selectors[number]])

    def possible(self, *said: Is, selected: Iterable[int] | None = None) -> bool:
        """Whether there is a world in which these hold, and the selected rules (all, if None)."""
        numbers = self.selectors if selected is None else selected
        assumed = [self.selectors[number] for number in numbers]
        return bool(self.solver.solve([*assumed, *(self.literal(part) for part in said)]))

    def core(self, *said: Is) -> list[int]:
        """Numbers of rules that, with what is said, cannot hold together, and of which none can be
        left out; of rules that can hold, none.
        """
        if self.possible(*said):
            return []
        by_selector = {selector: number for number, selector in self.selectors.items()}
        found = [by_selector[part] for part in self.solver.get_core() or [] if part in by_selector]
        for number in list(found):
            fewer = [other for other in found if other != number]
            if not self.possible(*said, selected=fewer):
                found = fewer
        return sorted(found)

    def corrections(self, core: Sequence[int], *said: Is) -> list[int]:
        """The rules of a contradiction of which leaving out a single one helps; at most five."""
        found = []
        for number in core:
            rest = [other for other in self.selectors if other != number]
            if self.possible(*said, selected=rest):
                found.append(number)
        return found[:MOST_OPTIONS]

    def follows(self, number: int) -> bool:
        """Whether a rule says nothing that the others do not force."""
        rest = [other for other in self.selectors if other != number]
        for clause in self.rules.clauses[number] or ((),):
            if not clause:
                return False
            assumed = [self.selectors[other] for other in rest]
            if self.solver.solve([*assumed, *(-self.literal(part) for part in clause)]):
                return False
        return True

    def close(self) -> None:
        """Give the solver's memory back."""
        self.solver.delete()

    def literal(self, part: Is) -> int:
        """The number that says it; sets of many leaves get one of their own."""
        values, count = self.values[part.choice], len(self.rules.choices[part.choice].values)
        if count == 2:
            return values[0] if YES in part.values else -values[0]
        if len(part.values) == 1:
            return values[next(iter(part.values))]
        if len(part.values) == count - 1:
            (other,) = set(range(count)) - part.values
            return -values[other]
        if 2 * len(part.values) > count:
            return -self.literal(Is(part.choice, frozenset(range(count)) - part.values))
        key = (part.choice, part.values)
        if key not in self.sets:
            self.sets[key] = self._new()
            members = [values[value] for value in part.values]
            self.solver.add_clause([-self.sets[key], *members])
            self.solver.append_formula([[-member, self.sets[key]] for member in members])
        return self.sets[key]

    def _new(self) -> int:
        self.top += 1
        return self.top

    def _add_choice(self, count: int) -> None:
        if count == 2:
            self.values.append([self._new()])
            return
        values = [self._new() for _ in range(count)]
        self.values.append(values)
        if count <= PAIRWISE:
            self.solver.append_formula([[-a, -b] for a, b in combinations(values, 2)])
        elif count:
            card = CardEnc.atmost(values, 1, self.top, encoding=EncType.seqcounter)
            self.top = max(self.top, card.nv)
            self.solver.append_formula(card.clauses)
        self.solver.add_clause(values)

    def _count(self, formula: Count, selector: int) -> None:
        parts = [self.literal(part) for part in formula.parts if isinstance(part, Is)]
        for encode, bound in ((CardEnc.atleast, formula.least), (CardEnc.atmost, formula.most)):
            if (encode is CardEnc.atleast and bound > 0) or bound < len(parts):
                card = encode(parts, bound, self.top, encoding=EncType.seqcounter)
                self.top = max(self.top, card.nv)
                self.solver.append_formula([[*clause, -selector] for clause in card.clauses])


def proven(rules: Rules) -> list[Problem]:
    """What is wrong with rules that can be read: contradictions, classes that can never be said.

    E201, E202; W203 (a rule that follows from others), W204 and W205 (attributes that tell
    nothing apart), W206 (a tag that can never be so).
    """
    proof = Proof(rules)
    try:
        if not rules.leaves and not any(choice.kind == "tag" for choice in rules.choices):
            words = "There are neither classes nor tags, so there is nothing to answer."
            return [Problem("E007", words, Place(1, 1))]
        if not proof.possible():
            return [_contradiction(proof)]
        problems = [
            _never(proof, number, leaf)
            for number, leaf in enumerate(rules.leaves)
            if not proof.possible(Is(CLASS, frozenset({number})))
        ]
        problems += _needless(proof)
        problems += _dull_tags(proof)
        return [*problems, *_alike(rules)]
    finally:
        proof.close()


def _contradiction(proof: Proof) -> Problem:
    core = proof.core()
    rules = [proof.rules.rules[number] for number in core]
    words = f"These {len(rules)} rules cannot all hold: {_listed(proof, core)}. "
    if len(rules) == 1:
        words = f"This rule can never hold: {_listed(proof, core)}. "
    return Problem(
        "E201",
        words + _ways_out(proof, core),
        rules[0].place,
        tuple(rule.place for rule in rules[1:]),
    )


def _never(proof: Proof, number: int, leaf: str) -> Problem:
    said = Is(CLASS, frozenset({number}))
    core = proof.core(said)
    places = [proof.rules.rules[k].place for k in core]
    kinds = _kinds(proof.rules, number, core)
    words = (
        f"'{leaf}' can never be answered: {_listed(proof, core)}{kinds}. "
        f"{_ways_out(proof, core, said)}"
    )
    return Problem("E202", words, proof.rules.places[leaf], tuple(places))


def _kinds(rules: Rules, leaf: int, core: Sequence[int]) -> str:
    """The steps of the tree by which a leaf is what the rules speak of."""
    told = []
    name = rules.leaves[leaf]
    for kind, leaves in rules.below.items():
        spoken = any(
            part.choice == CLASS and leaves in (part.values, _rest(rules, part.values))
            for k in core
            for clause in rules.clauses[k] or ()
            for part in clause
        )
        if kind != name and leaf in leaves and spoken:
            told.append(f"L{rules.places[name].line} {name} is-a {kind}")
    return "".join(f"; {step}" for step in told)


def _rest(rules: Rules, values: frozenset[int]) -> frozenset[int]:
    return frozenset(range(len(rules.leaves))) - values


def _listed(proof: Proof, core: Sequence[int]) -> str:
    rules = [proof.rules.rules[number] for number in core]
    return "; ".join(f"{rule.name} {rule.words}" for rule in rules)


def _ways_out(proof: Proof, core: Sequence[int], *said: Is) -> str:
    options = [proof.rules.rules[number].name for number in proof.corrections(core, *said)]
    if not options:
        return "Removing one of them is not enough, other rules contradict each other too."
    if len(options) == 1:
        return f"Remove or soften {options[0]} (strength: 2)."
    return f"Remove or soften one of {', '.join(options)} (strength: 2)."


def _needless(proof: Proof) -> list[Problem]:
    rules = proof.rules
    if len(rules.rules) > MOST_FOR_FOLLOWING:
        return []
    found = []
    for number, rule in enumerate(rules.rules):
        if number in proof.selectors and rules.clauses[number] and proof.follows(number):
            from_others = [k for k in _forcing(proof, number) if k != number]
            names = " + ".join(rules.rules[k].name for k in from_others)
            words = f"'{rule.words}' follows from {names or 'the classes'}; it may be left out."
            found.append(Problem("W203", words, rule.place))
    return found


def _forcing(proof: Proof, number: int) -> list[int]:
    """The rules from which the first clause of a rule follows."""
    clause = (proof.rules.clauses[number] or ((),))[0]
    choices = proof.rules.choices
    against = [
        Is(p.choice, frozenset(range(len(choices[p.choice].values))) - p.values) for p in clause
    ]
    selector = proof.selectors.pop(number)
    try:
        return proof.core(*against)
    finally:
        proof.selectors[number] = selector


def _dull_tags(proof: Proof) -> list[Problem]:
    found = []
    for number, choice in enumerate(proof.rules.choices):
        if choice.kind == "tag" and not proof.possible(Is(number, frozenset({YES}))):
            core = proof.core(Is(number, frozenset({YES})))
            words = f"'{choice.name}' can never be said: {_listed(proof, core)}."
            found.append(Problem("W206", words, proof.rules.places[choice.name]))
    return found


def _alike(rules: Rules) -> list[Problem]:
    """Attributes that tell no two classes apart, and unseen classes that nothing tells apart."""
    rows = attribute_rows(rules)
    found = []
    for number, choice in enumerate(rules.choices):
        if choice.kind == "attribute" and len({row.get(number) for row in rows}) == 1:
            words = (
                f"The attribute '{choice.name}' is the same for all classes, so it tells nothing."
            )
            found.append(Problem("W204", words, rules.places[choice.name]))
    for name in rules.unseen:
        own = rules.leaves.index(name)
        same = [leaf for k, leaf in enumerate(rules.leaves) if k != own and rows[k] == rows[own]]
        if same and (same[0] not in rules.unseen or rules.leaves.index(same[0]) > own):
            words = (
                f"'{name}' and '{same[0]}' have the same attributes: they cannot be told apart "
                "without images. Add an attribute in which they differ."
            )
            found.append(Problem("W205", words, rules.places[name], (rules.places[same[0]],)))
    return found


def attribute_rows(rules: Rules) -> list[dict[int, frozenset[int]]]:
    """For each leaf: attribute -> the values it may have, where hard rules say something of it."""
    rows: list[dict[int, frozenset[int]]] = [{} for _ in rules.leaves]
    for rule, clauses in zip(rules.rules, rules.clauses, strict=True):
        if rule.strength is None and rule.form in ("attributes", "unseen"):
            for clause in clauses or ():
                for leaf, number, values in cell(clause, rules):
                    rows[leaf][number] = rows[leaf].get(number, values) & values
    return rows


def cell(clause: Clause, rules: Rules) -> Iterable[tuple[int, int, frozenset[int]]]:
    """A clause "not these leaves, or these values of an attribute" as (leaf, attribute, values)."""
    if len(clause) == 2 and clause[0].choice == CLASS:
        for leaf in _rest(rules, clause[0].values):
            yield leaf, clause[1].choice, clause[1].values
