"""`restore`: an image mended by a model that learned it, and how far each pixel may be off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kenspeckle.data.degrade import DEGRADATIONS, LOSSLESS, Degraded, jpeg_quality
from kenspeckle.data.read import decode, read_bytes, read_image
from kenspeckle.data.source import File
from kenspeckle.errors import UnreadableImage, UsageError
from kenspeckle.models.restorer import estimate_sigma
from kenspeckle.tasks.restore import Restore
from kenspeckle.verbs.model import Model

ESTIMATED_PX = 1024  # pixels a side, of the middle, that noise is estimated from
WORTH_MENDING = 1.0  # estimated noise below it, in 255ths, is taken for none


@dataclass(frozen=True)
class Mended:
    """A mended image.

    Args:
        pixels: (H, W, 1 or 3) uint8.
        deviation: (H, W) how far a pixel may be off: standard deviation, in 255ths.
        sigma: noise that was told to the network, in 255ths.
        quality: JPEG quality that was told, 100 for none.
        words: what was done, as a sentence.
    """

    pixels: NDArray[np.uint8]
    deviation: NDArray[np.float32]
    sigma: float
    quality: float
    words: str


def restore(
    model: Model,
    image: Path,
    *,
    sigma: float | None = None,
    quality: float | None = None,
    mask: Path | None = None,
) -> Mended:
    """Mend one image of any size.

    Args:
        sigma: standard deviation of the noise, in 255ths; None estimates it from the image.
        quality: of the JPEG, 1..100; None reads it from the file.
        mask: an image of the same size, white where pixels are missing.

    Raises:
        UsageError: the model does something else, or was not trained for what is asked.
        UnreadableImage: a file cannot be read.
    """
    task = model.task
    if not isinstance(task, Restore):
        raise UsageError("This model does not mend images; train one with --task restore.")
    try:
        content = read_bytes(File(image))
        picture = decode(content)
    except UnreadableImage as fault:
        raise UnreadableImage(fault.reason, f"{image}: {fault}") from None
    pixels = torch.from_numpy(picture.pixels).permute(2, 0, 1)[None].float() / 255
    colours = pixels.expand(-1, 3, -1, -1)
    if sigma is None:
        sigma = _estimated(colours) if "noise" in task.classes else 0.0
    if quality is None:
        quality = float(jpeg_quality(content) or LOSSLESS) if "jpeg" in task.classes else LOSSLESS
    _check(task, sigma, quality, mask)
    hidden = _mask(mask, picture.pixels.shape[:2])
    seen = Degraded(
        torch.where(hidden, 0.5, colours), torch.tensor([sigma]), torch.tensor([quality]), hidden
    )
    network = model.network
    mended = task.mended(network, seen)  # type: ignore[arg-type]
    out = mended.images if picture.pixels.shape[2] == 3 else mended.images.mean(1, keepdim=True)
    told = [f"noise {sigma:.0f}"] if sigma else []
    told += [f"JPEG quality {quality:.0f}"] if quality < LOSSLESS else []
    told += ["holes"] if mask is not None else []
    return Mended(
        pixels=(out[0].permute(1, 2, 0) * 255).round().byte().contiguous().numpy(),
        deviation=(mended.deviation[0, 0] * (255 * task.scale)).numpy(),
        sigma=sigma,
        quality=quality,
        words=f"mended {' and '.join(told)}" if told else "no damage found; nearly unchanged",
    )


def _estimated(image: torch.Tensor) -> float:
    height, width = image.shape[2:]
    top, left = max(0, height - ESTIMATED_PX) // 2, max(0, width - ESTIMATED_PX) // 2
    middle = image[..., top : top + ESTIMATED_PX, left : left + ESTIMATED_PX]
    if min(middle.shape[2:]) < 2:
        return 0.0
    sigma = float(estimate_sigma(middle)[0])
    return sigma if sigma >= WORTH_MENDING else 0.0


def _check(task: Restore, sigma: float, quality: float, mask: Path | None) -> None:
    learned = ", ".join(task.classes)
    least, most = DEGRADATIONS["noise"].drawn
    if sigma and ("noise" not in task.classes or not least <= sigma <= most):
        raise UsageError(
            f"Noise of {sigma:.0f} was asked for or found, and this model learned {learned}"
            f"{f' up to {most:.0f}' if 'noise' in task.classes else ''}. Say --sigma yourself."
        )
    if quality < LOSSLESS and ("jpeg" not in task.classes or quality < 1):
        raise UsageError(f"--quality should be 1 to 100, of a model that learned jpeg ({learned}).")
    if mask is not None and "holes" not in task.classes:
        raise UsageError(f"--mask is for a model that learned holes; this one learned {learned}.")


def _mask(path: Path | None, shape: tuple[int, ...]) -> torch.Tensor:
    if path is None:
        return torch.zeros(1, 1, *shape, dtype=torch.bool)
    pixels = read_image(File(path)).pixels
    if pixels.shape[:2] != shape:
        high, wide = pixels.shape[:2]
        raise UsageError(
            f"The mask {path} is {wide} x {high} pixels and the image {shape[1]} x {shape[0]}; "
            "they should be of one size."
        )
    return torch.from_numpy(pixels.mean(2) > 127)[None, None]
