"""Networks of the package timm behind our promise; the only place that copes with torchvision."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import torch
from torch import Tensor

from kenspeckle.errors import MissingExtra, UsageError, nearest
from kenspeckle.models.backbone import Backbone


class TimmBackbone(Backbone):
    """`timm:NAME`: the maps of any timm network that gives intermediates as grids.

    Args:
        name: as in `timm.list_models()`.
        hub: let timm download its own weights (only when the user asks with --weights hub).

    Raises:
        MissingExtra: timm is not installed.
        UsageError: there is no such network, or it gives no grid.
    """

    def __init__(self, name: str, *, hub: bool = False) -> None:
        timm = _timm()
        if not timm.is_model(name):
            hint = nearest(name, timm.list_models()) or "."
            raise UsageError(f"timm has no network '{name}'{hint}")
        body = timm.create_model(name, pretrained=hub, num_classes=0)
        settings = timm.data.resolve_model_data_config(body)
        super().__init__(settings["input_size"][0], settings["mean"], settings["std"])
        self.body = body
        if not hasattr(body, "forward_intermediates"):
            raise UsageError(f"timm:{name} gives no maps of its stages; choose another network.")
        with torch.no_grad():
            side = settings["input_size"][-1]
            maps = self.stages(torch.zeros(1, self.in_channels, side, side))
        self.channels = maps[-1].shape[1]

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """Maps, shallow to deep; the last is normalised as the network's own head sees it."""
        last, maps = self.body.forward_intermediates(
            self.prepare(images), norm=True, output_fmt="NCHW"
        )
        if last.ndim == 4 and last.shape[1] != maps[-1].shape[1]:
            return [*maps, last]
        return list(maps)


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        if "timm" in str(error) and "torchvision" not in str(error):
            raise MissingExtra(
                "Networks called timm:NAME need the package timm. Run "
                "`pip install 'kenspeckle[timm]'`."
            ) from None
    except RuntimeError:  # a torchvision that was built for another torch: `nms does not exist`
        pass
    for name in [n for n in sys.modules if n.split(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]
    _stand_in_for_torchvision()
    return importlib.import_module("timm")


class _Kind(type):
    """A class that has whatever attribute is asked of it, such as `InterpolationMode.NEAREST`."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kind(name, (), {})


class _Anything(types.ModuleType):
    """A module that has whatever is imported from it; using it for real is an error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kind(name, (), {})


def _stand_in_for_torchvision() -> None:
    """timm imports torchvision for its data pipeline, which we do not use (PLATFORM P1)."""
    parts = (
        "",
        ".transforms",
        ".transforms.functional",
        ".datasets",
        ".datasets.folder",
        ".ops",
        ".ops.misc",
        ".models",
        ".models.feature_extraction",
        ".io",
        ".utils",
    )
    for part in parts:
        module = _Anything(f"torchvision{part}")
        sys.modules[module.__name__] = module
        parent, _, child = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
