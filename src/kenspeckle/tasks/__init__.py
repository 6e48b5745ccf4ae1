"""What a network can be asked, one file a task: `TASKS`. Those that obey rules: `RULED`."""

from __future__ import annotations

from kenspeckle.catalogue import Catalogue

TASKS = Catalogue(
    "task",
    {
        "classify": ("kenspeckle.tasks.classify:Classify", "one of K classes an image", {}),
        "tag": ("kenspeckle.tasks.tag:Tag", "any of K labels an image", {}),
        "detect": ("kenspeckle.tasks.detect:Detect", "what is where in an image", {}),
        "restore": ("kenspeckle.tasks.restore:Restore", "a damaged image mended", {}),
        "generate": ("kenspeckle.tasks.generate:Generate", "new images of a class, drawn", {}),
        "compress": ("kenspeckle.tasks.compress:Compress", "images in few bytes", {}),
        "read": ("kenspeckle.tasks.read:Read", "a line of characters in an image", {}),
        "match": ("kenspeckle.tasks.match:Match", "the same person, place or thing, or not", {}),
        "watch": ("kenspeckle.tasks.watch:Watch", "one of K classes a clip", {}),
        "translate": ("kenspeckle.tasks.translate:Translate", "a string into another", {}),
    },
)

RULED = Catalogue(
    "task that obeys rules",
    {
        "classify": ("kenspeckle.tasks.ruled:RuledClassify", "one of the leaves of a file", {}),
        "tag": ("kenspeckle.tasks.ruled_tag:RuledTag", "labels that may stand together", {}),
        "read": ("kenspeckle.tasks.ruled_read:RuledRead", "lines that a text permits", {}),
    },
)
