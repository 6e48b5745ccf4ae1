"""What a network can be asked, one file a task. The table is `TASKS`."""

from __future__ import annotations

from kenspeckle.catalogue import Catalogue

TASKS = Catalogue(
    "task",
    {
        "classify": ("kenspeckle.tasks.classify:Classify", "one of K classes an image", {}),
        "tag": ("kenspeckle.tasks.tag:Tag", "any of K labels an image", {}),
        "translate": ("kenspeckle.tasks.translate:Translate", "a string into another", {}),
    },
)
