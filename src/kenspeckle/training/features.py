"""Feature vectors of a frozen backbone: computed once an image, remembered by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.batch import Chosen, Rows
from kenspeckle.data.pool import Pool
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import pooled
from kenspeckle.models.runtime import Precision, for_inference, in_parallel

_NO_FACTS = np.dtype([("reserved", "u1")])
DEEPEST = 6  # pooled stages kept: Lite0's 40, 80, 112, 192, 320 and 1280 channels (TRUST 1.1)


@dataclass(frozen=True)
class FeatureNetwork:
    """A frozen backbone made ready to run, and what its vectors are made of.

    Args:
        stages: images -> maps, folded for inference.
        widths: channels of the pooled stages, shallow to deep; the last is the waist's.
        identity: SHA-256 of the weights, hexadecimal.
    """

    stages: Callable[[Tensor], list[Tensor]]
    widths: tuple[int, ...]
    identity: str
    precision: Precision

    def vectors(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, sum(widths)), the pooled stages side by side."""
        return pooled(self.stages(images), self.widths)


def feature_network(
    backbone: Backbone, precision: Precision, image_size: int = 64
) -> FeatureNetwork:
    """`backbone` folded, with the widths of its deepest stages.

    Args:
        image_size: pixels a side of the images to come; some networks take no other.
    """
    folded = for_inference(backbone)
    assert isinstance(folded, Backbone)
    with torch.inference_mode():
        maps = folded.stages(torch.zeros(1, backbone.in_channels, image_size, image_size))
    widths = tuple(m.shape[1] for m in maps[-DEEPEST:])
    return FeatureNetwork(folded.stages, widths, weights_hash(backbone), precision)


def weights_hash(backbone: Backbone) -> str:
    """SHA-256 over a network's tensors and their names, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def extract(
    network: FeatureNetwork,
    images: Rows,
    keys: Sequence[bytes],
    fit_name: str,
    folder: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """(N, D) vectors, computing only those that the cache in `folder` does not hold.

    Args:
        keys: content hash of each image's file.
        fit_name: how images became squares, such as `224-pad`: another fit, another vector.
        folder: of the cache; None remembers nothing.
    """
    with _pool(network, fit_name, folder) as pool:
        missing = np.flatnonzero(pool.rows(keys) < 0)
        found = len(keys) - len(missing)
        # In pieces, so that a run that is stopped has lost little.
        for start in range(0, len(missing), 512):
            some = missing[start : start + 512]

            def report(done: int, total: int, before: int = found + start) -> None:
                if progress:
                    progress(before + done, len(keys))

            chosen = Chosen(images, torch.from_numpy(some))
            vectors = in_parallel(network.vectors, chosen, network.precision, report)
            facts = np.zeros(len(some), _NO_FACTS)
            pool.append([keys[i] for i in some], vectors.numpy(), facts)
        if progress:
            progress(len(keys), len(keys))
        return np.asarray(pool.take(pool.rows(keys)), dtype=np.float32)


def remembered(
    network: FeatureNetwork, keys: Sequence[bytes], fit_name: str, folder: Path | None
) -> NDArray[np.bool_]:
    """(N,) which images' vectors the cache in `folder` holds already."""
    with _pool(network, fit_name, folder) as pool:
        return pool.rows(keys) >= 0


def _pool(network: FeatureNetwork, fit_name: str, folder: Path | None) -> Pool:
    name = f"features-{network.identity[:16]}-{fit_name}-{network.precision}"
    return Pool.open(folder, name, (sum(network.widths),), np.float32, _NO_FACTS)
