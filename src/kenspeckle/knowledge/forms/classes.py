"""`classes`: a tree of kinds, or one with several parents; an image shows exactly one leaf."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.source import Items, Node, Table, Text


class Classes:
    """Tables nest kinds, lists end in leaves; a name in two places has two parents.

    ```yaml
    classes:
      animal: {dog: [beagle, husky], bird: [sparrow, penguin]}
      vehicle: [car, truck]
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Add each name with its parents; sets of leaves follow when `unseen` is read too."""
        self._below(None, node, draft)

    def state(self, node: Node, draft: Draft) -> None:
        """Nothing more."""

    def _below(self, parent: str | None, node: Node, draft: Draft) -> None:
        if isinstance(node, Table):
            for key, value in node:
                name = tidy(key)
                self._add(parent, name, draft)
                self._below(name.text, value, draft)
        elif isinstance(node, Items):
            for item in node:
                if isinstance(item, Text):
                    self._add(parent, tidy(item), draft)
                else:
                    self._below(parent, item, draft)
        elif node.text:
            self._add(parent, tidy(node), draft)

    def _add(self, parent: str | None, name: Text, draft: Draft) -> None:
        if not name.text:
            draft.problem("E108", "A class without a name stands here.", name.place)
            return
        draft.edges.setdefault(name.text, {})
        draft.names.places.setdefault(name.text, name.place)
        if parent is not None:
            draft.edges[name.text].setdefault(parent, name.place)
