"""Claim: our EfficientNet-Lite0 with the packaged weights is the published network.

1000 photographs, one a class of ImageNet (re-encoded at 208 pixels, so no figure for ImageNet):
top-1 and top-5 with each way of making a square, and the same weights in an independent
implementation (timm's tf_efficientnet_lite0) with its own preprocessing: the largest difference
of logits and the share of equal answers on the very same squares.
Run: `python benchmarks/imagenet_lite0.py [--timm FOLDER]`, where FOLDER holds the package timm if
it is not installed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Row, Store, table, unpacked
from PIL import Image
from torch import Tensor, nn

from kenspeckle.data.fit import Fit
from kenspeckle.data.read import read_image
from kenspeckle.data.source import File
from kenspeckle.models.pretrained import (
    _lite0_weights,
    imagenet_head,
    imagenet_synsets,
    make_backbone,
)
from kenspeckle.models.runtime import for_inference
from kenspeckle.models.timm_adapter import _timm
from kenspeckle.score import proportion

PIECE = 20
COMPARED = 50


def files() -> list[tuple[Path, int]]:
    """Each photograph and its class number."""
    folder = unpacked("imagenet-1-per-class")
    number = {name: i for i, name in enumerate(imagenet_synsets())}
    with (folder / "labels.csv").open(newline="") as lines:
        return [(folder / row["file"], number[row["wnid"]]) for row in csv.DictReader(lines)]


class Ours(nn.Module):
    """uint8 (B, 3, H, W) -> logits (B, 1000)."""

    def __init__(self, folded: bool) -> None:
        super().__init__()
        backbone = make_backbone("efficientnet-lite0").eval()
        self.body = for_inference(backbone) if folded else backbone
        self.head = imagenet_head()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


def theirs() -> tuple[nn.Module, Row]:
    """timm's network with the same weights, tensor by tensor in order, and its preprocessing."""
    timm: Any = _timm()
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own = network.state_dict()
    weights = list(_lite0_weights().values())
    if [v.shape for v in own.values()] != [v.shape for v in weights]:
        sys.exit("timm's tensors are in another order; compare the names by hand.")
    network.load_state_dict(dict(zip(own, weights, strict=True)))
    settings = timm.data.resolve_model_data_config(network)
    return network, {key: settings[key] for key in ("crop_pct", "interpolation", "mean", "std")}


def square(path: Path, mode: str) -> Tensor:
    pixels = read_image(File(path), Fit(224, mode)).pixels  # type: ignore[arg-type]
    return torch.from_numpy(pixels).permute(2, 0, 1).expand(3, -1, -1)


def counted(logits: Tensor, labels: list[int]) -> Row:
    best = logits.topk(5).indices
    right = best == torch.tensor(labels)[:, None]
    return {
        "top1": proportion(int(right[:, 0].sum()), len(labels)).as_dict(),
        "top5": proportion(int(right.any(1).sum()), len(labels)).as_dict(),
    }


def ours(mode: str) -> Row:
    chosen, network, logits = files(), Ours(folded=True), []
    with torch.inference_mode():
        for start in range(0, len(chosen), PIECE):
            images = torch.stack([square(p, mode) for p, _ in chosen[start : start + PIECE]])
            logits.append(network(images.to(memory_format=torch.channels_last)))
    return counted(torch.cat(logits), [label for _, label in chosen])


def scaled(images: Tensor, settings: Row) -> Tensor:
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (images.float() / 255 - mean) / std


def same_squares() -> Row:
    """Both implementations on the same 50 squares, in float32 and unfolded."""
    network, settings = theirs()
    every = files()
    images = torch.stack([square(p, "stretch") for p, _ in every[:: len(every) // COMPARED]])
    with torch.inference_mode():
        one, two = Ours(folded=False)(images), network(scaled(images, {**settings, **HALF}))
    return {
        "images": len(images),
        "largest_logit_difference": float((one - two).abs().max()),
        "largest_logit": float(one.abs().max()),
        "same_answer": proportion(int((one.argmax(1) == two.argmax(1)).sum()), len(images)).value,
        "their_settings": settings,
    }


HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # pixels in [-1, 1], as ours


def timms_square(path: Path, share: float) -> Tensor:
    """timm's: the short side to 224 / share, bicubic, then the middle 224."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = int(224 / share) / min(image.size)
    sides = [round(side * scale) for side in image.size]
    image = image.resize((sides[0], sides[1]), Image.Resampling.BICUBIC)
    left, top = (sides[0] - 224) // 2, (sides[1] - 224) // 2
    return torch.from_numpy(
        np.asarray(image.crop((left, top, left + 224, top + 224))).copy()
    ).permute(2, 0, 1)


def peer() -> Row:
    """timm's implementation with timm's own preprocessing on all files."""
    chosen, logits = files(), []
    network, settings = theirs()
    with torch.inference_mode():
        for start in range(0, len(chosen), PIECE):
            images = [
                timms_square(p, settings["crop_pct"]) for p, _ in chosen[start : start + PIECE]
            ]
            logits.append(network(scaled(torch.stack(images), settings)))
    return counted(torch.cat(logits), [label for _, label in chosen])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timm", type=Path, help="folder with the package timm")
    folder = parser.parse_args().timm
    if folder is not None:
        sys.path.insert(0, str(folder))
    torch.set_num_threads(1)
    store = Store("imagenet_lite0", __doc__ or "")
    same = store.row("same squares", same_squares)
    print(same)
    rows = {f"ours {m}": store.row(f"ours {m}", lambda m=m: ours(m)) for m in MODES}
    rows["timm"] = store.row("timm", peer)
    table(
        [("way", "top-1", "low", "high", "top-5", "low", "high")]
        + [
            (name, *(100 * row[k][e] for k in ("top1", "top5") for e in ("value", "low", "high")))
            for name, row in rows.items()
        ]
    )
    store.conclude(
        {
            "largest_logit_difference": same["largest_logit_difference"],
            "same_answer": same["same_answer"],
            "top1": {name: row["top1"]["value"] for name, row in rows.items()},
            "met": same["largest_logit_difference"] < 1e-3 and same["same_answer"] == 1,
        }
    )


MODES = ("pad", "stretch", "crop")

if __name__ == "__main__":
    main()
