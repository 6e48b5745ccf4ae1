"""`text`: what a line of characters may be, by a pattern and a check digit."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import Automaton, from_pattern
from kenspeckle.knowledge.check_digits import CHECKS, checked
from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.names import hint
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Node, Text

USUAL = tuple(string.digits + string.ascii_letters + string.punctuation + " ")
PATTERN, CHECK, WEIGHTS, WHY = "pattern", "check", "weights", "why"
ANYTHING = ".*"


@dataclass(frozen=True)
class TextRule:
    """What a line may be.

    Args:
        name: in the file.
        pattern: a regular expression for the whole line.
        check: of `CHECKS`, or blank.
        weights: of `mod11`.
        place: where it stands.
    """

    name: str
    pattern: str
    check: str
    weights: tuple[int, ...]
    place: Place

    @property
    def words(self) -> str:
        """As a person would say it."""
        return f"{self.name}: {self.pattern}" + (f" with check {self.check}" if self.check else "")

    def automaton(self, alphabet: Sequence[str]) -> Automaton:
        """The lines over these characters that it permits; it may be that there are none.

        Raises:
            UsageError: the pattern or the check cannot be followed.
        """
        found = from_pattern(self.pattern, alphabet)
        return checked(found, self.check, self.weights) if self.check else found


class Texts:
    """Name -> its pattern and check digit; a line should be one of them.

    ```yaml
    text:
      plate: {pattern: '[A-Z]{3}-?[0-9]{3,4}'}
      serial: {pattern: '[0-9]{16}', check: luhn}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each, if a line can be so at all."""
        for key, value in draft.table(node, "`text`") or ():
            rule = self._rule(tidy(key), value, draft)
            if rule is None:
                continue
            alphabet = tuple(dict.fromkeys([*USUAL, *rule.pattern]))
            try:
                is_empty = rule.automaton(alphabet).is_empty
            except UsageError as error:
                draft.problem("E303", str(error), value.place)
                continue
            if is_empty:
                words = (
                    f"No line can be '{rule.words}': the pattern and the check have no string in "
                    "common. Mend one of them."
                )
                draft.problem("E301", words, key.place)
                continue
            draft.add("text", rule)

    def _rule(self, name: Text, value: Node, draft: Draft) -> TextRule | None:
        table = draft.table(value, f"What is said of '{name.text}'")
        if table is None:
            return None
        known = (PATTERN, CHECK, WEIGHTS, WHY)
        said = {k.text: v for k, v in draft.known_keys(table, known, f"'{name.text}'")}
        if len(said) < len(table.rows):
            return None
        check = str(said.get(CHECK, ""))
        if check and check not in CHECKS:
            words = f"There is no check '{check}'{hint(check, CHECKS)} Known: {', '.join(CHECKS)}."
            draft.problem("E109", words, said[CHECK].place)
            return None
        if PATTERN not in said and not check:
            words = f"'{name.text}' needs a 'pattern', a 'check' or both."
            draft.problem("E105", words, table.place)
            return None
        pattern = said.get(PATTERN, Text(ANYTHING, table.place))
        if not isinstance(pattern, Text):
            words = "A pattern is a text; put it between quotation marks ('[0-9]{4}')."
            draft.problem("E105", words, pattern.place)
            return None
        weights = []
        for item in draft.items(said[WEIGHTS], "'weights'") if WEIGHTS in said else ():
            weight = draft.number(item, "A weight", 0, 1000)
            if weight is None:
                return None
            weights.append(int(weight))
        return TextRule(name.text, pattern.text, check, tuple(weights), name.place)
