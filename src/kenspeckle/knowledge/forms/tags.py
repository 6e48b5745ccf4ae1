"""`tags`: what may be so or not, one independent of the other but for the rules."""

from __future__ import annotations

from kenspeckle.knowledge.draft import Draft
from kenspeckle.knowledge.formulas import Choice
from kenspeckle.knowledge.source import Node


class Tags:
    """A list of names.

    ```yaml
    tags: [daylight, night, snow, headlights on]
    ```
    """

    def declare(self, node: Node, draft: Draft) -> None:
        """Add each as a choice between no and yes."""
        for text in draft.texts(node, "`tags`"):
            name = draft.new_name(text)
            if name is not None:
                draft.names.add_choice(Choice(name.text, ("no", "yes"), "tag"), name.place)

    def state(self, node: Node, draft: Draft) -> None:
        """Nothing more."""
