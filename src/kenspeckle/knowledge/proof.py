"""What can be proved of a rules file before any image: that it can hold, and what it forces.

By a SAT solver (python-sat): each choice of two values is a variable, any other one a variable a
value of which exactly one is true; each rule has a selector, so that the solver names the rules of
a contradiction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from pysat.solvers import Solver

from kenspeckle.knowledge.draft import Rule
from kenspeckle.knowledge.encoding import Encoding
from kenspeckle.knowledge.formulas import YES, Clause, Count, Is, choices_of, literals_of
from kenspeckle.knowledge.names import CLASS, LONGEST, shown, some
from kenspeckle.knowledge.problems import Place, Problem

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules

SOLVER = "glucose4"
MOST_OPTIONS = 5  # ways out of a contradiction that are told
MOST_TRIED = 200  # sets of rules that are looked at to find them
MOST_TOLD = 5  # classes that are named one by one
MOST_WORLDS = 1000  # that are looked for to see of which tags they are
MOST_FOR_FOLLOWING = (
    400  # rules; asking of each whether it follows takes the square of their number
)


class Proof:
    """A solver that knows a file's choices and hard rules.

    Args:
        rules: what is asked about.
        without: numbers of rules that are left out.
    """

    def __init__(self, rules: Rules, without: Iterable[int] = ()) -> None:
        self.rules = rules
        self.solver = Solver(name=SOLVER)
        sizes = {number: len(choice.values) for number, choice in enumerate(rules.choices)}
        self.encoding = Encoding(sizes, self.solver.add_clause)
        self.literal = self.encoding.literal
        left_out = set(without)
        self.selectors: dict[int, int] = {}
        for number, (rule, clauses) in enumerate(zip(rules.rules, rules.clauses, strict=True)):
            if rule.strength is None and number not in left_out:
                self.selectors[number] = self.encoding.new()
                if clauses is None:
                    assert isinstance(rule.formula, Count)
                    self.encoding.count(rule.formula, self.selectors[number])
                for clause in clauses or ():
                    literals = [self.literal(part) for part in clause]
                    self.solver.add_clause([*literals, -self.selectors[number]])

    def possible(self, *said: Is, selected: Iterable[int] | None = None) -> bool:
        """Whether there is a world in which these hold, and the selected rules (all, if None)."""
        numbers = self.selectors if selected is None else selected
        assumed = [self.selectors[number] for number in numbers]
        return bool(self.solver.solve([*assumed, *(self.literal(part) for part in said)]))

    def core(self, *said: Is, selected: Iterable[int] | None = None) -> list[int]:
        """Numbers of rules that, with what is said, cannot hold together, and of which none can be
        left out; of rules that can hold, none.

        Args:
            selected: the rules that are asked about; None is all.
        """
        if self.possible(*said, selected=selected):
            return []
        by_selector = {selector: number for number, selector in self.selectors.items()}
        found = [by_selector[part] for part in self.solver.get_core() or [] if part in by_selector]
        for number in list(found):
            fewer = [other for other in found if other != number]
            if not self.possible(*said, selected=fewer):
                found = fewer
        return sorted(found)

    def cores(self, *said: Is) -> list[list[int]]:
        """Contradictions that share no rule; without the rules of all of them the rest can hold."""
        found: list[list[int]] = []
        left = set(self.selectors)
        while core := self.core(*said, selected=left):
            found.append(core)
            left -= set(core)
        return found

    def corrections(
        self, *said: Is, without: AbstractSet[int] = frozenset()
    ) -> list[tuple[int, ...]]:
        """The smallest sets of rules, each of which need only be left out for the rest to hold; at
        most `MOST_OPTIONS`, those of few rules first.

        Every such set has a rule of each contradiction, so it is sought from one contradiction to
        the next (Reiter 1987, doi:10.1016/0004-3702(87)90062-2, section 4).

        Args:
            without: rules that are left out anyhow.
        """
        found: list[tuple[int, ...]] = []
        queue: list[frozenset[int]] = [frozenset()]
        for out in queue:  # which grows meanwhile
            if any(out.issuperset(option) for option in found):
                continue
            core = self.core(*said, selected=self.selectors.keys() - without - out)
            if not core and out:
                found.append(tuple(sorted(out)))
            queue += [more for more in (out | {number} for number in core) if more not in queue]
            if len(found) == MOST_OPTIONS or len(queue) > MOST_TRIED:
                break
        return found

    def forcing(self, number: int, others: Iterable[int]) -> list[int] | None:
        """Some of these others from which a rule follows; None where it says more than they."""
        found: set[int] = set()
        selected = list(others)
        for clause in self.rules.clauses[number] or ((),):
            against = [Is(p.choice, self._others(p)) for p in clause]
            if not clause or self.possible(*against, selected=selected):
                return None
            found.update(self.core(*against, selected=selected))
        return sorted(found)

    def _others(self, part: Is) -> frozenset[int]:
        return frozenset(range(len(self.rules.choices[part.choice].values))) - part.values

    def alike(self, choice: int) -> list[list[int]]:
        """Values of a choice in groups that the hard rules do not tell apart, so that one answers
        for all.
        """
        rules = self.rules
        every = frozenset(range(len(rules.choices[choice].values)))
        sets = {
            min(part.values, every - part.values, key=len)
            for number in self.selectors
            for clause in _clauses(rules, number)
            for part in clause
            if part.choice == choice
        }
        marks: list[list[int]] = [[] for _ in every]
        for mark, values in enumerate(sets):
            for value in values:
                marks[value].append(mark)
        groups: dict[tuple[int, ...], list[int]] = {}
        for value, own in enumerate(marks):
            groups.setdefault(tuple(own), []).append(value)
        return list(groups.values())

    def close(self) -> None:
        """Give the solver's memory back."""
        self.solver.delete()


def _clauses(rules: Rules, number: int) -> Sequence[Clause]:
    """The clauses of a rule; of a count without any, its parts."""
    clauses, formula = rules.clauses[number], rules.rules[number].formula
    if clauses is None and isinstance(formula, Count):
        return [tuple(part for part in formula.parts if isinstance(part, Is))]
    return clauses or ()


def proven(rules: Rules) -> list[Problem]:
    """What is wrong with rules that can be read: contradictions, classes that can never be said.

    E201, E202; W203 (a rule that follows from others), W204 and W205 (attributes that tell
    nothing apart), W206 (a tag that can never be so).
    """
    proof = Proof(rules)
    try:
        tags = [choice for choice in rules.choices if choice.kind == "tag"]
        if not rules.leaves and not tags and not rules.texts:
            words = "There are neither classes nor tags nor texts, so there is nothing to answer."
            return [Problem("E007", words, Place(1, 1))]
        problems = _contradictions(proof, "")
        if problems:
            return problems
        problems += _told_contradictions(proof)
        problems += _never(proof)
        problems += _needless(proof)
        problems += _dull_tags(proof)
        return [*problems, *_alike(rules)]
    finally:
        proof.close()


def _contradictions(proof: Proof, where: str, *said: Is) -> list[Problem]:
    """E201 for each contradiction that shares no rule with another one."""
    found = []
    cores = proof.cores(*said)
    for core in cores:
        rules = [proof.rules.rules[number] for number in core]
        first = "This rule" if len(rules) == 1 else f"These {len(rules)} rules"
        told = f"{first} can never hold" if len(rules) == 1 else f"{first} cannot all hold"
        if where:
            told = f"{where}, {told[0].lower()}{told[1:]}"
        others = {number for other in cores if other is not core for number in other}
        words = f"{told}: {_listed(proof, core)}. {_ways_out(proof, *said, without=others)}"
        places = tuple(rule.place for rule in rules[1:])
        found.append(Problem("E201", words, rules[0].place, places))
    return found


def _told_contradictions(proof: Proof) -> list[Problem]:
    """E201 for values of side columns with which no answer is left."""
    found = []
    for number in proof.rules.known:
        choice = proof.rules.choices[number]
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for alike in proof.alike(number):
            cores = proof.cores(Is(number, frozenset(alike[:1])))
            if cores:
                groups.setdefault(tuple(map(tuple, cores)), []).extend(alike)
        for values in groups.values():
            named = some([shown(choice.values[value]) for value in sorted(values)], MOST_TOLD)
            said = Is(number, frozenset(values[:1]))
            found += _contradictions(proof, f"Where '{choice.name}' is {named}", said)
    return found


def _never(proof: Proof) -> list[Problem]:
    """E202, once for all classes that the same rules forbid."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for leaves in proof.alike(CLASS) if proof.rules.leaves else ():
        core = tuple(proof.core(_is(leaves[0])))
        if core:
            groups.setdefault(core, []).extend(leaves)
    found = []
    for core, forbidden in groups.items():
        leaves = sorted(forbidden)
        while leaves:
            options = proof.corrections(_is(leaves[0]))
            rests = [proof.selectors.keys() - set(option) for option in options]
            alike = [
                leaf
                for leaf in leaves
                if all(proof.possible(_is(leaf), selected=rest) for rest in rests)
            ]
            found.append(_forbidden(proof, core, alike))
            leaves = [leaf for leaf in leaves if leaf not in alike]
    return found


def _is(leaf: int) -> Is:
    return Is(CLASS, frozenset({leaf}))


def _forbidden(proof: Proof, core: Sequence[int], leaves: Sequence[int]) -> Problem:
    rules, name = proof.rules, proof.rules.leaves[leaves[0]]
    kinds = _kinds(rules, leaves[0], core)
    steps = "".join(f"; L{line} {name} is-a {kind}" for kind, line in kinds)
    words = (
        f"{_who(rules, leaves)} be answered: {_listed(proof, core)}{steps}. "
        f"{_ways_out(proof, _is(leaves[0]))}"
    )
    if len(kinds) > 1:
        words = f"{words.removesuffix('.')}, or take '{name}' out of one of these kinds."
    places = tuple(rules.rules[number].place for number in core)
    return Problem("E202", words, rules.places[name], places)


def _who(rules: Rules, leaves: Sequence[int]) -> str:
    """That some classes cannot, by the name of their kind or one by one."""
    if len(leaves) == len(rules.leaves):
        return "No class can ever"
    kind = next((kind for kind, below in rules.below.items() if below == set(leaves)), None)
    if kind is not None and len(leaves) > 1:
        return f"No class of '{kind}' can ever"
    return some([f"'{rules.leaves[leaf]}'" for leaf in leaves], MOST_TOLD) + " can never"


def _kinds(rules: Rules, leaf: int, core: Sequence[int]) -> list[tuple[str, int]]:
    """The kinds of a leaf that the rules speak of, each with the line of the first step to it."""
    spoken = {
        part.values
        for number in core
        for part in literals_of(rules.rules[number].formula)
        if part.choice == CLASS
    }
    found = []
    name = rules.leaves[leaf]
    for kind, leaves in rules.below.items():
        if kind != name and leaf in leaves and leaves in spoken:
            steps = rules.parents[name]
            line = min(p.line for one, p in steps.items() if rules.below[one] <= leaves)
            found.append((kind, line))
    return found


def _rest(rules: Rules, values: frozenset[int]) -> frozenset[int]:
    return frozenset(range(len(rules.leaves))) - values


def _listed(proof: Proof, core: Sequence[int]) -> str:
    rules = [proof.rules.rules[number] for number in core]
    return "; ".join(f"{rule.name} {_words(rule)}" for rule in rules)


def _words(rule: Rule) -> str:
    return rule.words if len(rule.words) <= LONGEST else f"{rule.words[:LONGEST]}..."


def _ways_out(proof: Proof, *said: Is, without: AbstractSet[int] = frozenset()) -> str:
    options = proof.corrections(*said, without=without)
    if not options:
        return "Too many rules contradict each other to say which to remove."
    rules = proof.rules.rules
    forms = {rules[number].form for option in options for number in option}
    verb = "Remove or soften" if forms == {"rules"} else "Remove or change"
    softer = []
    if "rules" in forms:
        softer.append("a softer rule has `strength: 2`")
    if forms != {"rules"}:
        softer.append("softer is `usually 0.9`, or several values, as [2, 4]")
    named = [" and ".join(rules[number].name for number in option) for option in options]
    which = named[0]
    if len(named) > 1:
        all_single = all(len(option) == 1 for option in options)
        which = f"one of {', '.join(named)}" if all_single else ", or ".join(named)
    return f"{verb} {which} ({'; '.join(softer)})."


def _needless(proof: Proof) -> list[Problem]:
    """W203: the last ones first, so that of two that say the same the first one stays."""
    rules = proof.rules
    if len(rules.rules) > MOST_FOR_FOLLOWING:
        return []
    found = []
    needed = dict(proof.selectors)
    for number in sorted(needed, reverse=True):
        if not rules.clauses[number]:
            continue
        del needed[number]
        forcing = proof.forcing(number, needed)
        if forcing is None:
            needed[number] = proof.selectors[number]
            continue
        names = " + ".join(rules.rules[k].name for k in forcing) or "the classes"
        words = f"{shown(rules.rules[number].words)} follows from {names}, so it may be left out."
        found.append(Problem("W203", words, rules.rules[number].place))
    return found


def _dull_tags(proof: Proof) -> list[Problem]:
    """W206: tags that no world has; a world that is found answers for all tags that it has."""
    found = []
    choices = proof.rules.choices
    left = {
        n: proof.encoding.values[n][0] for n, choice in enumerate(choices) if choice.kind == "tag"
    }
    proof.solver.set_phases(list(left.values()))
    for _ in range(MOST_WORLDS):
        if not left:
            break
        number = next(iter(left))
        if proof.possible(Is(number, frozenset({YES}))):
            world = set(proof.solver.get_model() or ())
            left = {n: variable for n, variable in left.items() if variable not in world}
            continue
        del left[number]
        core = proof.core(Is(number, frozenset({YES})))
        words = f"'{choices[number].name}' can never be said: {_listed(proof, core)}."
        found.append(Problem("W206", words, proof.rules.places[choices[number].name]))
    return found


def _alike(rules: Rules) -> list[Problem]:
    """Attributes that tell no two classes apart, and unseen classes that nothing tells apart."""
    rows = attribute_rows(rules)
    usual = _usual_rows(rules)
    elsewhere = {
        number
        for rule in rules.rules
        if rule.form not in ("attributes", "unseen")
        for number in choices_of(rule.formula)
    }
    found = []
    for number, choice in enumerate(rules.choices):
        said = {(row.get(number), more.get(number)) for row, more in zip(rows, usual, strict=True)}
        if choice.kind == "attribute" and len(said) == 1 and number not in elsewhere:
            words = (
                f"The attribute '{choice.name}' is the same for all classes, so it tells nothing. "
                "Say of which classes it is otherwise, or take it out."
            )
            found.append(Problem("W204", words, rules.places[choice.name]))
    for name in rules.unseen:
        own = rules.leaves.index(name)
        same = [
            leaf
            for k, leaf in enumerate(rules.leaves)
            if k != own and rows[k] == rows[own] and usual[k] == usual[own]
        ]
        if same and (same[0] not in rules.unseen or rules.leaves.index(same[0]) > own):
            words = (
                f"'{name}' and '{same[0]}' have the same attributes: they cannot be told apart "
                "without images. Add an attribute in which they differ."
            )
            found.append(Problem("W205", words, rules.places[name], (rules.places[same[0]],)))
    return found


def _usual_rows(rules: Rules) -> list[dict[int, frozenset[tuple[Clause, float]]]]:
    """For each leaf: attribute -> what is usually said of it."""
    rows: list[dict[int, frozenset[tuple[Clause, float]]]] = [{} for _ in rules.leaves]
    for rule, clauses in zip(rules.rules, rules.clauses, strict=True):
        if rule.strength is not None and rule.form == "attributes":
            for clause in clauses or ():
                for leaf, number, _ in cell(clause, rules):
                    said = frozenset({(clause[1:], rule.strength)})
                    rows[leaf][number] = rows[leaf].get(number, frozenset()) | said
    return rows


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
