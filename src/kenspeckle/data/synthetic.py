"""The mark of images that a network drew, so that nobody takes them for photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kenspeckle.version import __version__

KEY = "synthetic"  # of a text in the PNG file
MARK: Mapping[str, str] = {KEY: f"kenspeckle {__version__}"}
"""What is written into the file of a drawn image."""


def is_marked(texts: Mapping[Any, Any]) -> bool:
    """Whether the texts of an image file say that a network drew it.

    >>> is_marked(MARK), is_marked({"Software": "kenspeckle 1.0"})
    (True, False)
    """
    return str(texts.get(KEY, "")).startswith("kenspeckle")
