"""`columns`: what is told about an image beside its pixels, and which values it may have."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft, tidy
from kenspeckle.knowledge.formulas import Choice, Is
from kenspeckle.knowledge.source import Node


class Columns:
    """Name -> its values. A value that is no other name may be used alone in a sentence.

    ```yaml
    columns:
      season: [spring, summer, autumn, winter]
    rules:
      - {if: snow, then: not summer}
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Add each as a choice that is told, never predicted."""
        for key, value in draft.table(node, "`columns`") or ():
            name = tidy(key)
            if name.text in draft.edges or draft.names.is_taken(name.text):
                other = draft.names.places[name.text]
                words = f"'{name.text}' means something else already (line {other.line})."
                draft.problem("E110", words + " Give it another name.", name.place, other)
                continue
            values = draft.texts(value, f"The values of '{name.text}'")
            told = tuple(dict.fromkeys(text.text for text in values))
            if not told:
                draft.problem("E108", f"The column '{name.text}' has no values.", value.place)
                continue
            number = draft.names.add_choice(Choice(name.text, told, "known"), name.place)
            for text in values:
                if not draft.names.is_taken(text.text) and text.text not in draft.edges:
                    said = Is(number, frozenset({told.index(text.text)}))
                    draft.names.say(text.text, said, text.place)

    def state(self, node: Node, draft: Draft) -> None:
        """Nothing more."""
