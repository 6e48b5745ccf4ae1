"""How a finished backbone is run here: folded, channels-last, in the faster precision."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kenspeckle.data.batch import Rows, in_pieces
from kenspeckle.errors import StorageError
from kenspeckle.files import write_text

Precision = Literal["float32", "bfloat16"]
PIECE = 16  # images at once: 9.7 ms an image against 10.2 at 32 and 17 at 64 (Lite0, 1 thread)


def for_inference(network: nn.Module) -> nn.Module:
    """A copy that answers faster: batch norm folded into convolutions, channels-last memory.

    The copy's outputs equal the original's to float32 rounding (3e-5 for Lite0's waist).
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for module in folded.modules():
        if not isinstance(module, nn.Sequential):
            continue
        children = list(module.named_children())
        for (name, layer), (next_name, norm) in pairwise(children):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, next_name, nn.Identity())
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def faster_precision(network: nn.Module, images: Tensor) -> Precision:
    """Which precision runs `network` (made by `for_inference`) faster here, by trying both."""
    seconds: dict[Precision, float] = {}
    names: tuple[Precision, Precision] = ("float32", "bfloat16")
    for _ in range(2):  # the first round also warms the caches up; the second is the one kept
        for name in names:
            start = time.perf_counter()
            forward(network, images, name)
            seconds[name] = time.perf_counter() - start
    # float32 unless bfloat16 clearly wins: equal speed is no reason to round.
    return "bfloat16" if seconds["bfloat16"] < 0.9 * seconds["float32"] else "float32"


def remembered_precision(
    make: Callable[[], nn.Module], images: Tensor, identity: str, folder: Path
) -> Precision:
    """`faster_precision`, measured once a machine: the same answer in the next run.

    Args:
        make: gives the network (as `for_inference` does) where it has to be measured.
        identity: of the network's weights.
        folder: of the cache; one that cannot be written to remembers nothing.
    """
    key = f"{identity[:16]}-{images.shape[-1]}-torch-{torch.__version__}"
    path = folder / "precision.json"
    known: dict[str, Precision] = {}
    with suppress(OSError, ValueError, TypeError):  # none yet, or damaged: measured anew
        known = dict(json.loads(path.read_text("utf-8")))
    if known.get(key) not in ("float32", "bfloat16"):
        known[key] = faster_precision(make(), images)
        with suppress(StorageError):
            write_text(path, json.dumps(known, indent=1) + "\n")
    return known[key]


def forward(function: Callable[[Tensor], Tensor], images: Tensor, precision: Precision) -> Tensor:
    """`function(images)` without gradients, in `precision`; the result is float32."""
    images = images.to(memory_format=torch.channels_last)
    with (
        torch.inference_mode(),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        return function(images).float()


def in_parallel(
    function: Callable[[Tensor], Tensor],
    images: Rows,
    precision: Precision,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """`function` over all `images` in pieces, one Python thread a core: (N, ...) float32.

    Each piece is computed by one thread, so the answer does not depend on how many cores there
    are. One thread a piece costs 10 ms of CPU an image where two threads a piece cost 15.
    """
    total = len(images)
    pieces = [torch.arange(s.start, s.stop) for s in in_pieces(total, PIECE)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done, results = 0, []
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for rows, result in zip(
                pieces,
                pool.map(lambda rows: forward(function, images[rows], precision), pieces),
                strict=True,
            ):
                results.append(result)
                done += len(rows)
                if progress:
                    progress(done, total)
    finally:
        torch.set_num_threads(threads)
    return torch.cat(results)
