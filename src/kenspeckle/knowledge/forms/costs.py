"""`costs`: which mistakes are worse, and what it costs to hand an image over to a person."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Cost, Draft
from kenspeckle.knowledge.names import CLASS
from kenspeckle.knowledge.source import Node, Text

UNSURE = "unsure"


class Costs:
    """A list; what is not said costs 1, and being right nothing (see `knowledge/costs.py`).

    ```yaml
    costs:
      - {truth: tumour, answered: healthy, cost: 50}
      - {answered: unsure, cost: 3}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Nothing."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add each."""
        every = frozenset(range(len(draft.names.choices[CLASS].values)))
        for item in draft.items(node, "`costs`"):
            table = draft.table(item, "A cost")
            if table is None:
                continue
            rows = dict(draft.known_keys(table, ("truth", "answered", "cost", "why"), "A cost"))
            said = {key.text: value for key, value in rows.items()}
            if "answered" not in said or "cost" not in said:
                lacks = " and ".join(f"'{key}'" for key in ("answered", "cost") if key not in said)
                words = (
                    f"This cost lacks {lacks}, as {{truth: tumour, answered: healthy, cost: 50}}."
                )
                draft.problem("E105", words, table.place)
                continue
            cost = draft.number(said["cost"], "'cost'", 0)
            truth = draft.leaves(said["truth"], "'truth'") if "truth" in said else every
            answered = said["answered"]
            is_unsure = isinstance(answered, Text) and answered.text == UNSURE
            leaves = None if is_unsure else draft.leaves(answered, "'answered'")
            if cost is not None and truth is not None and (is_unsure or leaves is not None):
                draft.add("costs", Cost(truth, leaves, cost, table.place))
