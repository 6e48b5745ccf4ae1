"""`sums`: numbers read in one picture of which one is the sum of the others."""

from __future__ import annotations

from dataclasses import dataclass

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.names import shown
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Node, Text


@dataclass(frozen=True)
class SumRule:
    """That one reading is the sum of others; reckoned by `kenspeckle.knowledge.sums`.

    Args:
        total: the name of the sum.
        parts: names of what is added, two or more.
        place: where it stands.
    """

    total: str
    parts: tuple[str, ...]
    place: Place


class Sums:
    """Each a total and its parts.

    ```yaml
    sums:
      - {total: left + right}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing: readings are named by whoever reads them."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each."""
        seen: dict[str, Place] = {}
        for item in draft.items(node, "`sums`"):
            for key, value in draft.table(item, "A sum") or ():
                if key.text == "why":
                    continue
                total = draft.name(key)
                rule = None if total is None else self._rule(total, value, draft)
                if rule is None:
                    continue
                if rule.total in seen:
                    words = f"{shown(rule.total)} is a sum already. Take one of both out."
                    draft.problem("E110", words, rule.place, seen[rule.total])
                    continue
                seen[rule.total] = rule.place
                draft.add("sums", rule)

    def _rule(self, total: Text, value: Node, draft: Draft) -> SumRule | None:
        texts = value.text.split("+") if isinstance(value, Text) else []
        parts = [tidy(Text(text, value.place)).text for text in texts]
        if len(parts) < 2 or not all(parts):
            words = "A sum should name its parts, as {total: left + right}."
            draft.problem("E105", words, value.place)
            return None
        if total.text in parts:
            words = f"{shown(total.text)} is a part of itself. Give the sum another name."
            draft.problem("E105", words, value.place)
            return None
        return SumRule(total.text, tuple(parts), total.place)
