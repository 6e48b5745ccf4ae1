"""What can be wrong with a rules file, each with its place, and the error that carries them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kenspeckle.errors import DataError


class Place(NamedTuple):
    """Line and column in the rules file, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One fault of a rules file.

    Args:
        code: `E...` stops, `W...` is worth a look.
        words: what is wrong, what was found, what to do, as sentences.
        place: where it stands.
        others: further places that take part in it.
    """

    code: str
    words: str
    place: Place
    others: tuple[Place, ...] = ()

    @property
    def severity(self) -> Literal["error", "warning"]:
        """By the letter of its code."""
        return "error" if self.code.startswith("E") else "warning"

    def told(self, file: str) -> str:
        """As a line of text.

        >>> Problem("E101", "There is no class 'huskie'.", Place(9, 24)).told("rules.yaml")
        "rules.yaml:9:24: E101 There is no class 'huskie'."
        """
        return f"{file}:{self.place.line}:{self.place.column}: {self.code} {self.words}"


class RulesError(DataError):
    """A rules file that cannot be used; its text names every fault, a line each.

    Args:
        file: the name that is said.
        problems: what was found, warnings too.
    """

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file, self.problems = file, tuple(problems)
        super().__init__("\n".join(problem.told(file) for problem in in_order(problems)))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """From the top of the file to its end, errors before warnings of the same place."""
    return sorted(problems, key=lambda problem: (problem.place, problem.code))


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """Those that stop."""
    return [problem for problem in problems if problem.severity == "error"]
