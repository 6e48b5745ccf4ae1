"""Which strings of symbols are allowed, as a deterministic automaton."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.pattern import Way, read, ways

LARGEST = 5_000  # states that a rule may need
WORK = 10 * LARGEST  # states on the way to it, before equal ones are merged
REFUSED = -1

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Automaton:
    """A set of strings: those that lead from state 0 to an accepting state.

    Args:
        alphabet: the symbols, each a character or a name; none twice.
        table: (states, symbols), the state that a symbol leads to, -1 where it is refused.
        accepting: (states,), where a string may end.

    >>> even = Automaton(("a",), np.array([[1], [0]], np.int32), np.array([True, False]))
    >>> even.accepts("aa"), even.accepts("aaa"), even.accepts("ab")
    (True, False, False)
    """

    alphabet: tuple[str, ...]
    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]

    def __post_init__(self) -> None:
        assert self.table.shape == (len(self.accepting), len(self.alphabet))
        assert len(set(self.alphabet)) == len(self.alphabet)
        self.table.setflags(write=False)
        self.accepting.setflags(write=False)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.alphabet)}

    @cached_property
    def letters(self) -> NDArray[np.intp]:
        """(symbols,): symbols with the same number lead to the same state from everywhere."""
        return _equal_columns(self.table)

    @property
    def is_empty(self) -> bool:
        """Whether no string is accepted."""
        return self.shortest() is None

    def accepts(self, symbols: Iterable[str]) -> bool:
        """Whether these symbols are an accepted string; a str is read character by character."""
        state = 0
        for symbol in symbols:
            number = self._numbers.get(symbol)
            state = REFUSED if number is None else int(self.table[state, number])
            if state == REFUSED:
                return False
        return bool(self.accepting[state])

    def shortest(self) -> tuple[str, ...] | None:
        """A shortest accepted string, None where there is none.

        >>> from_pattern("(ab)+c?", "abc").shortest()
        ('a', 'b')
        """
        came: dict[int, tuple[int, int]] = {0: (REFUSED, REFUSED)}
        waiting = [0]
        for state in waiting:
            if self.accepting[state]:
                found = []
                while came[state][0] != REFUSED:
                    state, symbol = came[state]
                    found.append(self.alphabet[symbol])
                return tuple(reversed(found))
            for symbol, target in enumerate(self.table[state].tolist()):
                if target != REFUSED and target not in came:
                    came[target] = state, symbol
                    waiting.append(target)
        return None

    def trimmed(self) -> Automaton:
        """The same strings, without states that none of them passes.

        >>> wasteful = np.array([[1, 2], [-1, -1], [2, 2]], np.int32)  # state 2 leads nowhere
        >>> Automaton(("a", "b"), wasteful, np.array([False, True, False])).trimmed().table.tolist()
        [[1, -1], [-1, -1]]
        """
        sources, symbols = (self.table != REFUSED).nonzero()
        targets = self.table[sources, symbols]
        start = np.arange(len(self.table)) == 0
        kept = _closure(start, sources, targets) & _closure(self.accepting, targets, sources)
        kept[0] = True
        numbers = np.where(kept, np.cumsum(kept) - 1, REFUSED)
        table = np.where(self.table == REFUSED, REFUSED, numbers[self.table])[kept]
        return Automaton(self.alphabet, table.astype(np.int32), self.accepting[kept])

    def minimal(self) -> Automaton:
        """The same strings with the fewest states.

        Source: Moore 1956, Gedanken-experiments on sequential machines.

        >>> len(from_pattern("[0-9]{3}|[0-9]{2}x", "0123456789x").minimal().table)
        4
        """
        own = self.trimmed()
        _, first = np.unique(own.letters, return_index=True)
        groups, before = np.unique(own.accepting, return_inverse=True)[1], REFUSED
        while groups.max() > before:
            before = int(groups.max())
            for targets in own.table[:, first].T:
                size = int(groups.max()) + 2
                leads = np.where(targets == REFUSED, size - 1, groups[targets])
                groups = np.unique(groups * size + leads, return_inverse=True)[1].ravel()
        return own._merged(groups)

    def _merged(self, groups: NDArray[np.int64]) -> Automaton:
        """With one state for each group, in the order in which groups come first."""
        _, first = np.unique(groups, return_index=True)
        order = np.argsort(first)
        numbers = np.argsort(order)[groups]
        table = self.table[first[order]]
        table = np.where(table == REFUSED, REFUSED, numbers[table])
        return Automaton(self.alphabet, table.astype(np.int32), self.accepting[first[order]])


def from_pattern(pattern: str, alphabet: Sequence[str]) -> Automaton:
    """The strings that a pattern describes as a whole, as `re.fullmatch` of Python does.

    A symbol of several characters is spelled out. `^` at the beginning and `$` at the end are
    allowed and change nothing.

    Args:
        pattern: characters, `[...]`, `.`, groups, `|`, and the counts `* + ? {m} {m,n}`.
        alphabet: the symbols that there are; what the pattern allows beyond them has no string.

    Raises:
        UsageError: the pattern cannot be read, uses what no finite list of states can follow at
            this size (looking ahead or behind, a group that repeats what another one was, flags),
            or needs more than 5000 states.

    Source: partial derivatives, Antimirov 1996. Python's own parser of patterns is
    private, and interegular 0.3.3 reads `[]a]`, `[\\D\\S]` and `a(?=b)` otherwise than Python does.

    >>> plate = from_pattern("[A-Z]{3}-?[0-9]{3,4}", "ABC0123456789-")
    >>> plate.accepts("ABC-123"), plate.accepts("AB-1234")
    (True, False)
    """
    assert all(alphabet), "a symbol has at least one character"
    characters = sorted(set("".join(alphabet)))
    what = f"The pattern {pattern!r}"
    try:
        start = ways(read(pattern, characters))
        spelled = explored(characters, start, _after, lambda state: None in state, what)
    except RecursionError:
        raise UsageError(f"{what} is nested too deeply. Write it flatter.") from None
    return _by_symbol(spelled, alphabet).minimal()


def _after(state: frozenset[Way], character: str) -> frozenset[Way] | None:
    """How a string goes on after one more character; the states of `from_pattern`."""
    further = [ways(way[1]) for way in state if way is not None and character in way[0]]
    return frozenset().union(*further) if further else None


def anything(alphabet: Sequence[str]) -> Automaton:
    """Every string, the empty one too.

    >>> anything("ab").accepts("abba")
    True
    """
    return Automaton(tuple(alphabet), np.zeros((1, len(alphabet)), np.int32), np.ones(1, np.bool_))


def union(automata: Sequence[Automaton]) -> Automaton:
    """The strings that any of several automata over one alphabet accepts.

    Raises:
        UsageError: more than 5000 states.

    >>> both = union([from_pattern("a+", "ab"), from_pattern("ab?", "ab")])
    >>> both.accepts("aa"), both.accepts("ab"), both.accepts("b")
    (True, True, False)
    """
    alphabet = automata[0].alphabet
    number = {symbol: at for at, symbol in enumerate(alphabet)}

    def step(states: tuple[int, ...], symbol: str) -> tuple[int, ...] | None:
        found = tuple(
            REFUSED if state == REFUSED else int(one.table[state, number[symbol]])
            for one, state in zip(automata, states, strict=True)
        )
        return None if set(found) == {REFUSED} else found

    def is_end(states: tuple[int, ...]) -> bool:
        pairs = zip(automata, states, strict=True)
        return any(state != REFUSED and bool(one.accepting[state]) for one, state in pairs)

    start = (0,) * len(automata)
    return explored(alphabet, start, step, is_end, "What a line may be").minimal()


def explored(
    alphabet: Sequence[str],
    start: State,
    step: Callable[[State, str], State | None],
    is_end: Callable[[State], bool],
    what: str,
) -> Automaton:
    """The strings that a rule lets pass which remembers a state.

    Args:
        alphabet: the symbols.
        start: the state before the first symbol.
        step: the state after one more symbol, None where it is refused.
        is_end: whether a string may end in a state.
        what: names the rule at the beginning of a message.

    Raises:
        UsageError: more than 5000 states.

    >>> odd = explored("ab", 0, lambda n, s: 1 - n if s == "a" else n, bool, "The rule")
    >>> odd.accepts("abb"), odd.accepts("aba")
    (True, False)
    """
    known, waiting, rows = {start: 0}, [start], []
    for state in waiting:
        row = []
        for symbol in alphabet:
            target = step(state, symbol)
            if target is not None and target not in known:
                known[target] = len(known)
                waiting.append(target)
            row.append(REFUSED if target is None else known[target])
        rows.append(row)
        if len(known) > LARGEST:
            raise _too_large(what)
    accepting = np.array([is_end(state) for state in waiting])
    table = np.array(rows, np.int32).reshape(len(rows), len(alphabet))
    return Automaton(tuple(alphabet), table, accepting).minimal()


def product(a: Automaton, b: Automaton) -> Automaton:
    """The strings that both accept, with the fewest states.

    Raises:
        UsageError: more than 5000 states.

    >>> both = product(from_pattern("a*b*", "ab"), from_pattern("(..)*", "ab"))
    >>> both.accepts("aabb"), both.accepts("aab"), both.accepts("abab")
    (True, False, False)
    """
    assert a.alphabet == b.alphabet
    letters = _equal_columns(np.concatenate([a.table, b.table]))
    _, first = np.unique(letters, return_index=True)
    wide = len(b.table)
    known, rows = {0: 0}, []
    waiting = np.zeros(1, np.int64)
    while len(waiting):
        left, right = a.table[waiting // wide][:, first], b.table[waiting % wide][:, first]
        leads = np.where(
            (left == REFUSED) | (right == REFUSED), REFUSED, left.astype(np.int64) * wide + right
        )
        rows.append(leads)
        fresh = [pair for pair in np.unique(leads).tolist() if pair not in known]
        waiting = np.array([pair for pair in fresh if pair != REFUSED], np.int64)
        known.update((int(pair), len(known) + place) for place, pair in enumerate(waiting))
        if len(known) > WORK:
            raise _too_large("What these rules allow together")
    pairs = np.array(list(known))
    leads = np.concatenate(rows)
    order = np.argsort(pairs)
    places = order[np.searchsorted(pairs, leads, sorter=order).clip(max=len(pairs) - 1)]
    table = np.where(leads == REFUSED, REFUSED, places)[:, letters].astype(np.int32)
    both = Automaton(a.alphabet, table, a.accepting[pairs // wide] & b.accepting[pairs % wide])
    smallest = both.minimal()
    if len(smallest.table) > LARGEST:
        raise _too_large("What these rules allow together")
    return smallest


def _too_large(what: str) -> UsageError:
    """The message for a rule with more states than can be followed."""
    return UsageError(
        f"{what} needs more than {LARGEST} states, the most that can be followed. "
        "Fix the length, or allow fewer repetitions."
    )


def _closure(
    start: NDArray[np.bool_], sources: NDArray[np.intp], targets: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """What can be reached from `start` along the arrows, itself included."""
    reached, before = start.copy(), 0
    while reached.sum() > before:
        before = int(reached.sum())
        reached[targets[reached[sources]]] = True
    return reached


def _equal_columns(table: NDArray[np.int32]) -> NDArray[np.intp]:
    """(columns,): equal columns have the same number, counted from 0."""
    numbers: dict[bytes, int] = {}
    columns = np.ascontiguousarray(table.T)
    return np.array([numbers.setdefault(c.tobytes(), len(numbers)) for c in columns], np.intp)


def _by_symbol(spelled: Automaton, alphabet: Sequence[str]) -> Automaton:
    """An automaton of characters as one of symbols, each spelled out."""
    table = np.empty((len(spelled.table), len(alphabet)), np.int32)
    for column, symbol in enumerate(alphabet):
        states = np.arange(len(spelled.table))
        for character in symbol:
            leads = spelled.table[states, spelled._numbers[character]]
            states = np.where(states == REFUSED, REFUSED, leads)
        table[:, column] = states
    return Automaton(tuple(alphabet), table, spelled.accepting)
