"""A small modern convolutional network: residual blocks of 3x3 convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone, masked, thinned


class CNN(Backbone):
    """(B, 3, H, W) -> four maps; the waist is (B, 4 * width, H/8, W/8), sides rounded up.

    A 3x3 stem at full size, then three stages that halve the sides and double the channels; each is
    one or more residual blocks of two 3x3 convolutions with batch normalisation.

    Args:
        width: channels of the first stage; the stem has half of it.
        blocks: of each stage.

    Source: He et al. 2016, arXiv:1512.03385, figure 2 and option B for the shortcut; the last
    normalisation of a block starts at zero, so that each block starts as its shortcut (Goyal et al.
    2017, arXiv:1706.02677, section 5.1).

    >>> import torch
    >>> CNN().eval()(torch.rand(2, 3, 28, 28)).shape
    torch.Size([2, 192, 4, 4])
    """

    takes_valid = True
    stride = 8

    def __init__(self, width: int = 48, blocks: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__(3, mean=[0.5] * 3, std=[0.25] * 3)
        self.channels = 4 * width
        self.stem = _convolution(3, width // 2)
        groups = []
        inside = width // 2
        for i, count in enumerate(blocks):
            out = width * 2**i
            more = (_Residual(out, out, stride=1) for _ in range(count - 1))
            groups.append(_Group([_Residual(inside, out, stride=2), *more]))
            inside = out
        self.groups = nn.ModuleList(groups)

    def stages(self, images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """The stem's map and one a stage."""
        x = masked(F.relu(self.stem(masked(self.prepare(images), valid))), valid)
        maps = [x]
        for group in self.groups:
            valid = thinned(valid, 2)
            x = group(x, valid)
            maps.append(x)
        return maps


def tiny() -> CNN:
    """0.2 million weights."""
    return CNN(24)


def base() -> CNN:
    """2.7 million weights."""
    return CNN(64, (1, 2, 2))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut; a 1x1 shortcut where the shape changes."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inside, out, stride=stride)
        self.second = _convolution(out, out)
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]
        self.stride = stride
        is_same = stride == 1 and inside == out
        # A 1x1 convolution of stride 2 reads every second pixel; these are taken out before it: the
        # strided one, in bfloat16 and channels-last order, writes past its memory in the backward
        # pass of batches of odd size (PyTorch 2.13.0, CPU with AVX-512 bf16).
        self.shortcut = nn.Identity() if is_same else _convolution(inside, out, 1)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        y = masked(F.relu(self.first(x)), valid)
        passed = self.shortcut(x[..., :: self.stride, :: self.stride])
        return masked(F.relu(self.second(y) + passed), valid)


class _Group(nn.Module):
    """The blocks of one stage, one after the other."""

    def __init__(self, blocks: Sequence[_Residual]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, valid)
        return x


def _convolution(inside: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and batch normalisation, ready to be folded into one."""
    convolution = nn.Conv2d(inside, out, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out))
