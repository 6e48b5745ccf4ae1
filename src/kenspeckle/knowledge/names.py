"""The names a rules file may use, and what each says about an image."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from kenspeckle.errors import nearest
from kenspeckle.knowledge.formulas import YES, Choice, Formula, Is
from kenspeckle.knowledge.problems import Place

CLASS = 0  # the number of the choice among leaves
NOTHING = ""  # its only value where a file gives no classes
LONGEST = 200  # letters of a name; a folder's name has 255 bytes at most
MOST_HINTS = 30  # in one file: the nearest of 10 000 names takes 50 ms to find


class Names:
    """Choices by number, and names that say something by themselves.

    A class says that the leaf is one of those below it, a tag and a plain attribute that they are
    so, a value of a side column that the column has it.
    """

    def __init__(self) -> None:
        self.choices: list[Choice] = [Choice("class", (), "class")]
        self.places: dict[str, Place] = {}
        self._said: dict[str, Formula] = {}
        self._numbers: dict[str, int] = {}
        self._values: dict[int, dict[str, int]] = {}
        self._doubtful: dict[str, tuple[str, ...]] = {}
        self._most_words: dict[int, int] = {}
        self._hints = 0
        self.most_words = 1

    def add_choice(self, choice: Choice, place: Place) -> int:
        """A new choice; if it is a plain one, its name says yes."""
        number = len(self.choices)
        self.choices.append(choice)
        self._numbers[choice.name] = number
        self.places[choice.name] = place
        self.most_words = max(self.most_words, len(choice.name.split()))
        if choice.is_plain:
            self._said[choice.name] = Is(number, frozenset({YES}))
        return number

    def say(self, name: str, formula: Formula, place: Place) -> None:
        """Give a name a meaning."""
        self._said[name] = formula
        self.places.setdefault(name, place)
        self.most_words = max(self.most_words, len(name.split()))

    def say_value(self, number: int, value: str, place: Place) -> None:
        """Let a value of a side column speak alone, unless the word means something already.

        A value of two columns speaks for neither of them; `columns_of` tells which they are.
        """
        column = self.choices[number].name
        if value in self._doubtful:
            self._doubtful[value] += (column,)
            return
        before = self._said.get(value)
        if before is None:
            if value not in self._numbers:
                found = self.value(number, value)
                assert found is not None
                self.say(value, Is(number, frozenset({found})), place)
        elif isinstance(before, Is) and self.choices[before.choice].kind == "known":
            self._doubtful[value] = (self.choices[before.choice].name, column)
            del self._said[value]

    def columns_of(self, value: str) -> tuple[str, ...]:
        """The columns that share a value, which therefore says nothing alone."""
        return self._doubtful.get(value, ())

    def set_leaves(self, leaves: Iterable[str]) -> None:
        """The values of the class choice, once all are known."""
        self.choices[CLASS] = Choice("class", tuple(leaves), "class")
        self._values.pop(CLASS, None)

    def meaning(self, name: str) -> Formula | None:
        """What a name says by itself."""
        return self._said.get(name)

    def number(self, name: str) -> int | None:
        """The choice of that name."""
        return self._numbers.get(name)

    def is_taken(self, name: str) -> bool:
        """Whether the name means something already."""
        return name in self._said or name in self._numbers

    def all(self) -> list[str]:
        """Every name that may be used."""
        return list(dict.fromkeys([*self._said, *self._numbers]))

    def value(self, number: int, text: str) -> int | None:
        """The value of a choice by its name."""
        if number not in self._values:
            values = self.choices[number].values
            self._values[number] = {value: k for k, value in enumerate(values)}
        return self._values[number].get(text)

    def most_words_of(self, number: int) -> int:
        """How many words the longest value of a choice has."""
        if number not in self._most_words:
            values = self.choices[number].values
            self._most_words[number] = max((len(value.split()) for value in values), default=1)
        return self._most_words[number]

    def hint(self, name: str, names: Iterable[str] | None = None) -> str:
        """`hint` among these names, or all; only a stop after `MOST_HINTS` of them."""
        self._hints += 1
        if self._hints > MOST_HINTS:
            return "."
        return hint(name, self.all() if names is None else names)


def hint(name: str, names: Iterable[str]) -> str:
    """The words `, did you mean 'x'?` for the nearest name, or one that begins alike; else a stop.

    >>> hint("huskie", ["husky", "beagle"]), hint("veh", ["vehicle"]), hint("moon", ["car"])
    (", did you mean 'husky'?", ", did you mean 'vehicle'?", '.')
    >>> hint("CAR", ["car"])
    ", did you mean 'car'?"
    """
    if len(name) > LONGEST:
        return "."
    known = [other for other in names if len(other) <= LONGEST]
    for form, more in ((_composed, " Its letters are stored otherwise: copy it."), (_folded, "")):
        same = next((other for other in known if form(other) == form(name)), None)
        if same is not None:
            return f", did you mean '{same}'?{more}"
    near = nearest(name, known)
    if near:
        return near
    begins = [other for other in known if len(name) > 1 and other.startswith(name)]
    return f", did you mean '{begins[0]}'?" if begins else "."


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def shown(text: str, most: int = 60) -> str:
    """In quotation marks; a long one cut short.

    >>> shown("snow"), shown("a" * 99, 5)
    ("'snow'", "'aaaaa...'")
    """
    return f"'{text}'" if len(text) <= most else f"'{text[:most]}...'"


def some(names: Sequence[str], most: int = 12) -> str:
    """The first of them.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
