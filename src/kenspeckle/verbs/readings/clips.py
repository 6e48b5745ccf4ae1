"""A sample is a clip: some of its frames, each seen by the packaged network, become steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.data.cache import Decoded
from kenspeckle.data.clips import Animation, Clip, Reel, Stills, Video
from kenspeckle.data.dataset import Dataset, Means, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.layouts.clips import find_reels
from kenspeckle.data.layouts.listing import list_folder
from kenspeckle.data.scan import scan
from kenspeckle.data.sequence import Sequences as Steps
from kenspeckle.data.sequence import padded
from kenspeckle.data.source import File, content_hash
from kenspeckle.data.video import VIDEO_SUFFIXES
from kenspeckle.errors import UnreadableImage
from kenspeckle.files import cache_folder
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.models.sequence import changes
from kenspeckle.training.features import FeatureNetwork, extract, feature_network
from kenspeckle.trust.explain.moments import moments, strip
from kenspeckle.verbs.readings.reading import Columns, Given, Progress, Reading

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
FRAMES = 16  # of a clip, spread evenly: 0.2 s of two cores
SHOWN = 112  # pixels a side of a frame in a strip
SIDE = 224  # pixels at which the packaged network sees a frame


class Clips(Reading):
    """Clips: folders of frames, animated images, videos."""

    thing = "clip"

    def look(self, data: Path, columns: Columns | None, means: Means) -> Dataset:
        """The clips at a path, with what people say about them."""
        return scan(data, columns=columns, means=means, reads="clips")

    def decode(self, dataset: Dataset, fit: Fit, progress: Progress) -> tuple[Decoded, int]:
        """Every readable clip as steps: what the packaged network makes of its frames."""
        network = frame_network()
        rows, keys, faults = [], [], {}
        frames: list[tuple[Clip, int]] = []
        counts = []
        for row, sample in enumerate(dataset.samples):
            try:
                numbers = _clip(sample).numbers(FRAMES)
                own = _clip(sample).reel.keys(numbers)
            except UnreadableImage as fault:
                faults[row] = fault
                continue
            frames += [(_clip(sample), number) for number in numbers]
            rows.append(row)
            keys.append(own)
            counts.append(len(own))
        flat = [key for own in keys for key in own]
        vectors = np.zeros((0, sum(network.widths)), np.float32)
        if flat:
            vectors = extract(
                network, _Frames(frames), flat, Fit(SIDE).name, cache_folder(), progress
            )
        ends = np.cumsum([0, *counts])
        steps = [_steps(vectors[a:b], fit, network) for a, b in itertools.pairwise(ends)]
        lengths = np.array(counts, dtype=np.int64)
        decoded = Decoded(
            images=Steps(steps),
            rows=np.array(rows, dtype=np.int64),
            faults=faults,
            keys=[content_hash(b"".join(own)) for own in keys],
            width=lengths,
            height=np.ones_like(lengths),
            perceptual=np.zeros(len(rows), dtype=np.uint64),
            formats=("CLIP",) * len(rows),
        )
        return decoded, steps[0].shape[1] if steps else 0

    def named(self, text: str, reads: str) -> list[Sample]:
        """A video, an animated image, a folder of frames, or a folder of clips."""
        path = Path(text)
        if path.is_dir():
            reels = find_reels(list_folder(path))
            if set(reels) == {"."}:
                return [self.at(text)]
            return [Sample(str(path / name), Clip(reel)) for name, reel in reels.items()]
        return super().named(text, reads)

    def at(self, text: str) -> Sample:
        """The clip in a file or folder of that name."""
        path = Path(text)
        if path.is_dir():
            reel = find_reels(list_folder(path)).get(".", Stills((), ()))
            return Sample(text, Clip(reel))
        source = File(path)
        is_video = path.suffix.lower() in VIDEO_SUFFIXES
        return Sample(text, Clip(Video(source) if is_video else Animation(source)))

    def one(self, sample: Sample, bundle: Bundle) -> Given:
        """(T, D) float32."""
        return Given(_seen(_clip(sample).frames(Fit(SIDE), FRAMES), bundle.config.fit))

    def together(self, given: Sequence[Given]) -> Tensor:
        """(B, T, D), nan after the end of each."""
        return padded([one.values.numpy() for one in given])


@dataclass(frozen=True)
class _Frames:
    """Frames of clips as rows of images, decoded when they are asked for."""

    frames: Sequence[tuple[Clip, int]]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, rows: Tensor) -> Tensor:
        by_reel: dict[Reel, list[tuple[int, int]]] = {}
        for place, row in enumerate(rows.tolist()):
            clip, number = self.frames[row]
            by_reel.setdefault(clip.reel, []).append((number, place))
        images = torch.empty(len(rows), 3, SIDE, SIDE, dtype=torch.uint8)
        for reel, wanted in by_reel.items():
            wanted.sort()  # a film is read forwards
            pixels = reel.pixels([number for number, _ in wanted], Fit(SIDE))
            for (_, place), frame in zip(wanted, pixels, strict=True):
                images[place] = torch.from_numpy(frame).permute(2, 0, 1)
        return images


@cache
def frame_network() -> FeatureNetwork:
    """The packaged network; float32, so that every machine makes the same steps of a frame."""
    return feature_network(make_backbone("efficientnet-lite0").eval(), "float32", SIDE)


def weighed(
    sample: Sample, fit: Fit, answer: Callable[[Tensor], Tensor], target: int
) -> tuple[Pixels, list[float]]:
    """The frames of a clip side by side, each with how much it speaks for a class; the weights.

    Args:
        fit: what the network sees of a clip.
        answer: clips (B, T, D) -> probabilities (B, K).
        target: the class's number.

    Raises:
        UnreadableImage: the clip cannot be read.
    """
    frames = _clip(sample).frames(Fit(SIDE), FRAMES)
    weights = moments(answer, _seen(frames, fit), target).tolist()
    small = [np.asarray(Image.fromarray(frame).resize((SHOWN, SHOWN))) for frame in frames]
    return strip(small, weights), weights


def _seen(frames: Sequence[Pixels], fit: Fit) -> Tensor:
    """(T, D) of the frames, as the network sees them."""
    network = frame_network()
    batch = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        vectors = network.vectors(batch).float().numpy()
    return torch.from_numpy(_steps(vectors, fit, network))


def _steps(vectors: Floats, fit: Fit, network: FeatureNetwork) -> Floats:
    """(T, D) of the frames' pooled stages: the waist, or how the earlier ones change."""
    waist = network.widths[-1]
    if fit.looks == "frames":
        return vectors[:, -waist:]
    return changes(torch.from_numpy(vectors[None, :, :-waist].copy()))[0].numpy()


def _clip(sample: Sample) -> Clip:
    assert isinstance(sample.source, Clip)
    return sample.source
