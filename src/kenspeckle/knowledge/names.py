"""The names a rules file may use, and what each says about an image."""

from __future__ import annotations

from collections.abc import Iterable

from kenspeckle.errors import nearest
from kenspeckle.knowledge.formulas import YES, Choice, Formula, Is
from kenspeckle.knowledge.problems import Place

CLASS = 0  # the number of the choice among leaves
NOTHING = ""  # its only value where a file gives no classes


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

    def set_leaves(self, leaves: Iterable[str]) -> None:
        """The values of the class choice, once all are known."""
        self.choices[CLASS] = Choice("class", tuple(leaves), "class")

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
        values = self.choices[number].values
        return values.index(text) if text in values else None


def hint(name: str, names: Iterable[str]) -> str:
    """The words `, did you mean 'x'?` for the nearest name, or one that begins alike; else a stop.

    >>> hint("huskie", ["husky", "beagle"]), hint("veh", ["vehicle"]), hint("moon", ["car"])
    (", did you mean 'husky'?", ", did you mean 'vehicle'?", '.')
    """
    known = list(names)
    near = nearest(name, known)
    if near:
        return near
    begins = [other for other in known if len(name) > 1 and other.startswith(name)]
    return f", did you mean '{begins[0]}'?" if begins else "."
