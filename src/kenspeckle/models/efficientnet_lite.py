"""EfficientNet-Lite: inverted bottlenecks for small devices, without squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone

# kernel, stride, expansion, channels, blocks: table 1 of EfficientNet (arXiv:1905.11946); Lite0
# keeps its width and depth, and fixes stem and last map.
_LITE0 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class EfficientNetLite(Backbone):
    """EfficientNet-Lite0: (B, 3, H, W) -> eight maps, the waist (B, 1280, H/32, W/32).

    The other seven are the outputs of the seven groups of blocks, of 16, 24, 40, 80, 112, 192 and
    320 channels. Pixels are scaled to [-1, 1], as the weights were trained (not ImageNet's mean:
    90 % against 81 % of 200 sample images, TRUST 1.1).

    Source: Tan and Le 2019, arXiv:1905.11946; Lite variants: TensorFlow TPU repository, 2020.

    >>> EfficientNetLite().eval()(torch.rand(1, 3, 64, 64)).shape
    torch.Size([1, 1280, 2, 2])
    """

    channels = 1280

    def __init__(self) -> None:
        super().__init__(3, mean=[0.5] * 3, std=[0.5] * 3)
        self.stem = _convolution(3, 32, 3, stride=2)
        groups, width = [], 32
        for kernel, stride, expansion, channels, blocks in _LITE0:
            group = []
            for i in range(blocks):
                group.append(_Block(width, channels, kernel, stride if i == 0 else 1, expansion))
                width = channels
            groups.append(nn.Sequential(*group))
        self.groups = nn.ModuleList(groups)
        self.last = _convolution(width, self.channels, 1)

    def tail(self) -> list[nn.Module]:
        """The last two groups of blocks and the last convolution: two thirds of the weights."""
        return [*self.groups[-2:], self.last]

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """Eight maps, shallow to deep."""
        x = self.stem(self.prepare(images))
        maps = []
        for group in self.groups:
            x = group(x)
            maps.append(x)
        return [*maps, self.last(x)]


class _Block(nn.Module):
    """Widen 1x1, filter each channel, narrow 1x1; add the input where the shape allows."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        widen = [_convolution(inside, wide, 1)] if expansion > 1 else []
        self.path = nn.Sequential(
            *widen,
            _convolution(wide, wide, kernel, stride=stride, groups=wide),
            _convolution(wide, out, 1, active=False),
        )
        self.is_residual = stride == 1 and inside == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.path(x)
        return x + y if self.is_residual else y


class _SamePad(nn.Module):
    """Pads like TensorFlow's SAME: the odd pixel goes to the right and the bottom."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for side in (x.shape[-1], x.shape[-2]):
            steps = -(-side // self.stride)
            pad = max(0, (steps - 1) * self.stride + self.kernel - side)
            pads += [pad // 2, pad - pad // 2]
        return F.pad(x, pads) if any(pads) else x


def _convolution(
    inside: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution without bias, batch norm (TensorFlow's epsilon), ReLU6."""
    layers: list[nn.Module] = []
    if stride > 1:
        layers.append(_SamePad(kernel, stride))
    padding = kernel // 2 if stride == 1 else 0
    layers.append(nn.Conv2d(inside, out, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(out, eps=1e-3, momentum=0.01))
    if active:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


def from_reference_names(backbone: EfficientNetLite, weights: dict[str, Tensor]) -> None:
    """Fill `backbone` from a state dict of the reference implementation, in its own order.

    Both list the same tensors in the same order; the last two (the 1000-class layer) are not ours.

    Raises:
        ValueError: a tensor has another shape than its place.
    """
    own = {k: v for k, v in backbone.state_dict().items() if k not in ("mean", "std")}
    theirs = [v for k, v in weights.items() if not k.startswith("_fc.")]
    if len(own) != len(theirs):
        raise ValueError(f"expected {len(own)} tensors, found {len(theirs)}")
    filled: dict[str, Tensor] = {"mean": backbone.mean, "std": backbone.std}
    for (name, place), tensor in zip(own.items(), theirs, strict=True):
        if place.shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(place.shape)}, found {tuple(tensor.shape)}")
        filled[name] = tensor
    with torch.no_grad():
        backbone.load_state_dict(filled)
