"""`rules`: what goes with what, hard, or with a strength."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft
from kenspeckle.knowledge.formulas import Any, Formula, Not
from kenspeckle.knowledge.names import shown
from kenspeckle.knowledge.sentences import SentenceError, counted, number_of
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
                words = "A rule is a sentence, as 'never night and snow', not a list."
                draft.problem("E105", words, item.place)

    def _table(self, table: Table, draft: Draft) -> None:
        said = table.get("strength")
        strength = None if said is None else draft.number(said, "'strength'", 0.001, 50)
        is_right = said is None or strength is not None
        found: list[tuple[Formula | None, str]] = []
        for key, value in table:
            words = key.text.split()
            if key.text == "never":
                formula = draft.sentence(value, "What follows 'never'")
                found.append((None if formula is None else Not(formula), f"never {value}"))
            elif key.text == "if":
                found.append(self._if(table, key, value, draft))
            elif words[-1:] == ["of"] and " ".join(words[:-2]) in _COUNTS:
                found.append(self._count(key, words, value, draft))
            elif key.text not in ("then", "strength", "why"):
                list(draft.known_keys(Table(((key, value),), key.place), _KEYS, "A rule"))
                is_right = False
        if len(found) != 1 and is_right:
            words_ = (
                "A rule says one thing: 'never ...', or 'if ...' with 'then ...', or how many 'of' "
                f"a list are so; {'none of these stands' if not found else 'two stand'} here."
            )
            draft.problem("E105", words_, table.place)
        elif is_right and found[0][0] is not None:
            draft.add_rule(table.place, found[0][1], found[0][0], strength)

    def _if(self, table: Table, key: Text, value: Node, draft: Draft) -> tuple[Formula | None, str]:
        then = table.get("then")
        condition = draft.sentence(value, "What follows 'if'")
        if then is None:
            words = "'if' needs a 'then', as {if: night, then: headlights on}."
            draft.problem("E105", words, key.place)
            return None, ""
        follows = draft.sentence(then, "What follows 'then'")
        if condition is None or follows is None:
            return None, ""
        return Any((Not(condition), follows)), f"if {value} then {then}"

    def _count(
        self, key: Text, words: list[str], value: Node, draft: Draft
    ) -> tuple[Formula | None, str]:
        number = number_of(words[-2])
        parts = draft.listed(value)
        if number is None:
            words_ = f"{shown(words[-2])} is no whole number, as '{' '.join(words[:-2])} 2 of' has."
            draft.problem("E105", words_, key.place)
        known = [part for part in parts if part is not None]
        if number is None or len(known) < len(parts):
            return None, ""
        try:
            formula = counted(" ".join(words[:-2]), number, known, key.place)
        except SentenceError as error:
            draft.problems.append(error.problem)
            return None, ""
        names = ", ".join(map(str, value)) if isinstance(value, Items) else str(value)
        return formula, f"{key.text} {names}"
