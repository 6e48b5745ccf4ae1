"""`weak`: labels for images that have none, by name or column, which are only learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kenspeckle.knowledge.draft import Draft
from kenspeckle.knowledge.formulas import Is
from kenspeckle.knowledge.names import CLASS, shown
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Node, Table, Text

FILE, COLUMN, EQUALS, THEN, TRUST = (
    "if file name contains",
    "if column",
    "equals",
    "then",
    "trust",
)
_KNOWN = (FILE, COLUMN, EQUALS, THEN, TRUST, "why")


@dataclass(frozen=True)
class WeakRule:
    """What labels an image that nobody labelled.

    Args:
        part: of the file's name, in any case; blank where a column is asked.
        column, value: of the table; blank where the name is asked.
        label: what it then is, as labels are written: a class, a kind, `not husky`.
        trust: how often that is right, in (0, 1]: what the image counts in training.
        place: where it stands.
    """

    part: str
    column: str
    value: str
    label: str
    trust: float
    place: Place

    def speaks(self, name: str, facts: Mapping[str, str]) -> bool:
        """Whether it labels an image.

        Args:
            name: of the file, without its folder.
            facts: columns of the table.

        >>> rule = WeakRule("husky", "", "", "husky", 0.9, Place(1, 1))
        >>> rule.speaks("IMG_Husky_3.jpg", {}), rule.speaks("cat.jpg", {})
        (True, False)
        """
        if self.part:
            return self.part.casefold() in name.casefold()
        return facts.get(self.column) == self.value


class Weak:
    """Images without a label get one from the rule with the most trust; none where two of the most
    trusted say different things.

    ```yaml
    weak:
      - {if file name contains: husky, then: husky, trust: 0.9}
      - {if column: scene_code, equals: F, then: not indoor, trust: 0.99}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each."""
        for item in draft.items(node, "`weak`"):
            table = draft.table(item, "A weak rule")
            if table is not None:
                self._add(table, draft)

    def _add(self, table: Table, draft: Draft) -> None:
        before = len(draft.problems)
        said = {k.text: v for k, v in draft.known_keys(table, _KNOWN, "A weak rule")}
        texts = {key: node.text for key, node in said.items() if isinstance(node, Text)}
        part, column, value = (texts.get(key, "") for key in (FILE, COLUMN, EQUALS))
        is_asked = bool(part) != bool(column) and bool(column) == (EQUALS in said)
        if len(draft.problems) == before and not (is_asked and THEN in said):
            words = (
                f"A weak rule needs '{FILE}', or '{COLUMN}' with '{EQUALS}'; and '{THEN}'. For "
                f"example {{{FILE}: husky, {THEN}: husky, {TRUST}: 0.9}}."
            )
            draft.problem("E105", words, table.place)
        trust = draft.number(said[TRUST], "'trust'", 0, 1) if TRUST in said else 1.0
        if trust == 0:
            draft.problem("E107", "A rule with trust 0 says nothing. Take it out.", table.place)
        label = self._label(said[THEN], draft) if THEN in said else None
        if len(draft.problems) == before and label is not None and trust:
            draft.add("weak", WeakRule(part, column, value, label, trust, table.place))

    def _label(self, node: Node, draft: Draft) -> str | None:
        """As labels are written: `!husky` for `not husky`."""
        formula = draft.sentence(node, f"What follows '{THEN}'")
        if formula is None or not isinstance(node, Text):
            return None
        text = " ".join(node.text.split())
        name = text.removeprefix("not ")
        meaning = draft.names.meaning(name)
        if not isinstance(meaning, Is):
            words = f"What follows '{THEN}' should be a class, a kind, or 'not' and one of these"
            draft.problem("E106", f"{words}; found {shown(text)}.", node.place)
            return None
        if meaning.choice != CLASS:
            words = f"Only classes can be said by a weak rule; {shown(name)} is none."
            draft.problem("E106", words, node.place)
            return None
        return text if name == text else f"!{name}"
