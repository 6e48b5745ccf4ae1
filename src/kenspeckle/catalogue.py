"""Tables of names that lead to code: filled by hand, open to other packages, imported late."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from kenspeckle.errors import UsageError, nearest


@dataclass(frozen=True)
class Row:
    """One entry: where the code is (`module:object`), what it is in one line, fixed facts."""

    target: str
    summary: str
    facts: Mapping[str, Any]


class Catalogue:
    """Name -> Row. What another package offers under the entry-point group joins the table.

    Args:
        kind: what one entry is called in messages, such as `model`.
        rows: name -> (`module:object`, one-line summary, facts).

    >>> shapes = Catalogue("shape", {"ring": ("collections:OrderedDict", "round", {})})
    >>> shapes.load("ring").__name__
    'OrderedDict'
    >>> shapes.load("rind")
    Traceback (most recent call last):
    kenspeckle.errors.UsageError: There is no shape 'rind', did you mean 'ring'? Known: ring.
    """

    def __init__(self, kind: str, rows: Mapping[str, tuple[str, str, Mapping[str, Any]]]) -> None:
        self.kind = kind
        self._own = {name: Row(*row) for name, row in rows.items()}
        self._all: dict[str, Row] | None = None

    def _table(self) -> dict[str, Row]:
        if self._all is None:
            group = f"kenspeckle.{self.kind.replace(' ', '_')}s"
            others = {
                point.name: Row(point.value, f"from {point.value.split('.')[0]}", {})
                for point in entry_points(group=group)
            }
            self._all = {**others, **self._own}  # our own names cannot be taken over silently
        return self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._table())

    def __contains__(self, name: object) -> bool:
        return name in self._table()

    def row(self, name: str) -> Row:
        """The row called `name`.

        Raises:
            UsageError: there is none; the message names the nearest.
        """
        table = self._table()
        if name not in table:
            hint = nearest(name, table) or "."
            raise UsageError(f"There is no {self.kind} '{name}'{hint} Known: {', '.join(table)}.")
        return table[name]

    def load(self, name: str) -> Any:
        """Import and return the object that `name` leads to."""
        module, _, attribute = self.row(name).target.partition(":")
        return getattr(importlib.import_module(module), attribute)
