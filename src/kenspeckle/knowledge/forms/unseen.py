"""`unseen`: classes without images, known by their parents and attributes alone."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.forms.attributes import state_cell
from kenspeckle.knowledge.names import shown
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
        kinds = {kind for above in draft.edges.values() for kind in above}
        for key, value in draft.table(node, "`unseen`") or ():
            name = draft.name(key)
            if name is None:
                continue
            if name.text in draft.edges:
                other = draft.names.places[name.text]
                words = (
                    f"'{name.text}' is a class already (line {other.line}), so it is not unseen. "
                )
                draft.problem("E110", words + "Remove one of them.", name.place, other)
                continue
            draft.edges[name.text] = {}
            draft.names.places[name.text] = name.place
            draft.unseen[name.text] = name.place
            facts = draft.table(value, f"What is said of '{name.text}'")
            parent = facts.get(IS_A) if facts is not None else None
            if parent is None:
                continue
            parents = [tidy(parent)] if isinstance(parent, Text) else draft.texts(parent, IS_A)
            for one in parents:
                if one.text in kinds:
                    draft.edges[name.text][one.text] = one.place
                elif one.text in draft.edges:
                    words = f"'{one.text}' is a class of its own, so nothing is a kind of it. Name "
                    words += "a kind that has classes below it, or leave 'is-a' out."
                    draft.problem("E106", words, one.place, draft.names.places[one.text])
                else:
                    near = draft.names.hint(one.text, kinds)
                    words = f"There is no kind of classes {shown(one.text)}{near}"
                    if near == ".":
                        words += " Name one of `classes` that has others below it."
                    draft.problem("E101", words, one.place)

    def state(self, node: Node, draft: Draft) -> None:
        """Add a rule for each attribute of each."""
        for key, value in draft.table(node, "`unseen`") or ():
            name = tidy(key)
            if name.text not in draft.unseen:
                continue
            for attribute, said in draft.table(value, f"What is said of '{name.text}'") or ():
                if attribute.text != IS_A:
                    of = tidy(attribute)
                    state_cell(draft, name, of, said, "unseen", attribute.place)
