"""`classes`: a tree of kinds, or one with several parents; an image shows exactly one leaf."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft
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
                self._below(self._add(parent, key, draft), value, draft)
        elif isinstance(node, Items):
            for item in node:
                if isinstance(item, Text):
                    self._add(parent, item, draft)
                else:
                    self._below(parent, item, draft)
        elif node.text:
            self._add(parent, node, draft)

    def _add(self, parent: str | None, text: Text, draft: Draft) -> str | None:
        name = draft.name(text)
        if name is None:
            return None
        draft.edges.setdefault(name.text, {})
        draft.names.places.setdefault(name.text, name.place)
        if parent is not None:
            draft.edges[name.text].setdefault(parent, name.place)
        return name.text
