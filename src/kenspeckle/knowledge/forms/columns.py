"""`columns`: what is told about an image beside its pixels, and which values it may have."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft
from kenspeckle.knowledge.formulas import Choice
from kenspeckle.knowledge.problems import Place
from kenspeckle.knowledge.source import Node


class Columns:
    """Name -> its values. A value that is no other name, and of no other column, may be used alone
    in a sentence.

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
            name = draft.new_name(key)
            places: dict[str, Place] = {}
            for text in draft.texts(value, f"The values of '{key.text}'", least=1):
                places.setdefault(text.text, text.place)
            if name is None or not places:
                continue
            number = draft.names.add_choice(Choice(name.text, tuple(places), "known"), name.place)
            for told, place in places.items():
                if told not in draft.edges:
                    draft.names.say_value(number, told, place)

    def state(self, node: Node, draft: Draft) -> None:
        """Nothing more."""
