"""`rules`: what goes with what, hard, or with a strength."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft
from kenspeckle.knowledge.formulas import Any, Formula, Not
from kenspeckle.knowledge.sentences import SentenceError, counted
from kenspeckle.knowledge.source import Items, Node, Table, Text

_COUNTS = ("exactly", "at most", "at least")
_KEYS = ("never", "if", "then", "strength", "why", "exactly N of", "at most N of", "at least N of")


class Sentences:
    """A list of sentences, or of tables that say the same with keys.

    ```yaml
    rules:
      - never: daylight and night
      - {if: night and car, then: headlights on, strength: 2.0}
      - exactly one of: [street, field, indoor]
      - at most 2 of [scratch, dent, hole]
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each as a rule."""
        for item in draft.items(node, "`rules`"):
            if isinstance(item, Text):
                formula = draft.sentence(item, "A rule")
                if formula is not None:
                    draft.add_rule(item.place, item.text, formula)
            elif isinstance(item, Table):
                self._table(item, draft)
            else:
                draft.problem("E105", "A rule is a sentence or a table, not a list.", item.place)

    def _table(self, table: Table, draft: Draft) -> None:
        strength = None
        said = table.get("strength")
        if said is not None:
            strength = draft.number(said, "'strength'", 0.001, 50)
            if strength is None:
                return
        found: list[tuple[Formula | None, str]] = []
        for key, value in table:
            words = key.text.split()
            if key.text == "never":
                formula = draft.sentence(value, "'never'")
                found.append((None if formula is None else Not(formula), f"never {value}"))
            elif key.text == "if":
                found.append(self._if(table, value, draft))
            elif words[-1:] == ["of"] and " ".join(words[:-2]) in _COUNTS:
                found.append(self._count(key, words, value, draft))
            elif key.text not in ("then", "strength", "why"):
                list(draft.known_keys(Table(((key, value),), key.place), _KEYS, "A rule"))
                return
        if len(found) != 1:
            words_ = "A rule says one thing: 'never', 'if' with 'then', or how many 'of' a list."
            draft.problem("E105", words_, table.place)
        elif found[0][0] is not None:
            draft.add_rule(table.place, found[0][1], found[0][0], strength)

    def _if(self, table: Table, value: Node, draft: Draft) -> tuple[Formula | None, str]:
        then = table.get("then")
        if then is None:
            draft.problem("E105", "'if' needs a 'then'.", table.place)
            return None, ""
        condition = draft.sentence(value, "'if'")
        follows = draft.sentence(then, "'then'")
        if condition is None or follows is None:
            return None, ""
        return Any((Not(condition), follows)), f"if {value} then {then}"

    def _count(
        self, key: Text, words: list[str], value: Node, draft: Draft
    ) -> tuple[Formula | None, str]:
        number = {"no": "0", "one": "1", "two": "2", "three": "3"}.get(words[-2], words[-2])
        parts = draft.listed(value)
        if not number.isascii() or not number.isdigit():
            draft.problem("E105", f"A number is expected in '{key.text}'.", key.place)
            return None, ""
        expected = len(value.items) if isinstance(value, Items) else 1
        if len(parts) < expected:
            return None, ""  # noted already
        try:
            formula = counted(" ".join(words[:-2]), int(number), parts, key.place)
        except SentenceError as error:
            draft.problems.append(error.problem)
            return None, ""
        names = (
            ", ".join(str(item) for item in value.items) if isinstance(value, Items) else str(value)
        )
        return formula, f"{key.text} {names}"
