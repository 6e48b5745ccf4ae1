"""The sections of a rules file, one file a section."""

from __future__ import annotations

from typing import Protocol

from kenspeckle.catalogue import Catalogue
from kenspeckle.knowledge.draft import Draft
from kenspeckle.knowledge.source import Node

# In the order in which they are read: what gives names comes before what uses them.
FORMS = Catalogue(
    "rule form",
    {
        "classes": ("kenspeckle.knowledge.forms.classes:Classes", "what kinds there are", {}),
        "unseen": ("kenspeckle.knowledge.forms.unseen:Unseen", "classes without images", {}),
        "attributes": (
            "kenspeckle.knowledge.forms.attributes:Attributes",
            "what classes look like",
            {},
        ),
        "tags": ("kenspeckle.knowledge.forms.tags:Tags", "what may be so or not", {}),
        "columns": ("kenspeckle.knowledge.forms.columns:Columns", "what side columns hold", {}),
        "rules": ("kenspeckle.knowledge.forms.rules:Sentences", "what goes with what", {}),
        "costs": ("kenspeckle.knowledge.forms.costs:Costs", "which mistakes are worse", {}),
        "priors": (
            "kenspeckle.knowledge.forms.priors:Priors",
            "what side columns make likelier",
            {},
        ),
        "text": ("kenspeckle.knowledge.forms.text:Texts", "what a line may be", {}),
        "frames": (
            "kenspeckle.knowledge.forms.frames:Frames",
            "in which order a clip's frames come",
            {},
        ),
        "sums": ("kenspeckle.knowledge.forms.sums:Sums", "which readings add up", {}),
        "weak": ("kenspeckle.knowledge.forms.weak:Weak", "labels for images without one", {}),
        "mirror": ("kenspeckle.knowledge.forms.mirror:Mirror", "what a mirrored image shows", {}),
    },
)


class Form(Protocol):
    """A section: first it gives names, then, when all names are known, it says things."""

    def declare(self, node: Node, draft: Draft) -> None:
        """Add the names that the section gives."""

    def state(self, node: Node, draft: Draft) -> None:
        """Add what it says."""
