"""`unseen`: classes without images, known by their parents and attributes alone."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.forms.attributes import state_cell
from kenspeckle.knowledge.names import hint
from kenspeckle.knowledge.source import Node, Text

IS_A = "is-a"


class Unseen:
    """Name -> its parent (`is-a`) and its value of attributes.

    ```yaml
    unseen:
      zebra: {is-a: animal, has stripes: yes, legs: 4}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Add each as a leaf."""
        table = draft.table(node, "`unseen`")
        for key, value in table or ():
            name = tidy(key)
            if name.text in draft.edges:
                words = (
                    f"'{name.text}' is a class already, so it is not unseen. Remove one of them."
                )
                draft.problem("E110", words, name.place, draft.names.places[name.text])
                continue
            draft.edges[name.text] = {}
            draft.names.places.setdefault(name.text, name.place)
            draft.unseen[name.text] = name.place
            facts = draft.table(value, f"What is said of '{name.text}'")
            parent = facts.get(IS_A) if facts is not None else None
            if parent is None:
                continue
            parents = [tidy(parent)] if isinstance(parent, Text) else draft.texts(parent, IS_A)
            for one in parents:
                if one.text not in draft.edges:
                    near = hint(one.text, draft.edges)
                    draft.problem("E101", f"There is no class '{one.text}'{near}", one.place)
                else:
                    draft.edges[name.text][one.text] = one.place

    def state(self, node: Node, draft: Draft) -> None:
        """Add a rule for each attribute of each."""
        for key, value in draft.table(node, "`unseen`") or ():
            name = tidy(key)
            if name.text not in draft.unseen:
                continue
            for attribute, said in draft.table(value, name.text) or ():
                if attribute.text != IS_A:
                    state_cell(draft, name, tidy(attribute), said, "unseen")
