"""Kenspeckle: image recognition for people with few images and knowledge of their field.

>>> import kenspeckle
>>> model = kenspeckle.train("photos/", budget="5m")     # doctest: +SKIP
>>> model.predict("x.jpg")[0].words                      # doctest: +SKIP
'rose (93 %)'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kenspeckle.version import __version__

if TYPE_CHECKING:
    from kenspeckle.answer import Answer, Finding
    from kenspeckle.data.dataset import Dataset, Sample
    from kenspeckle.data.scan import scan
    from kenspeckle.errors import KenError
    from kenspeckle.recipe import Recipe
    from kenspeckle.score import Score
    from kenspeckle.verbs.check import check
    from kenspeckle.verbs.model import Model, load, packaged
    from kenspeckle.verbs.train import train

# Late, so that `import kenspeckle` is quick and does not import torch.
_WHERE = {
    "Answer": "answer",
    "Dataset": "data.dataset",
    "Finding": "answer",
    "KenError": "errors",
    "Model": "verbs.model",
    "Recipe": "recipe",
    "Sample": "data.dataset",
    "Score": "score",
    "check": "verbs.check",
    "load": "verbs.model",
    "packaged": "verbs.model",
    "scan": "data.scan",
    "train": "verbs.train",
}
__all__ = [
    "Answer",
    "Dataset",
    "Finding",
    "KenError",
    "Model",
    "Recipe",
    "Sample",
    "Score",
    "__version__",
    "check",
    "load",
    "packaged",
    "scan",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kenspeckle' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kenspeckle.{_WHERE[name]}"), name)
