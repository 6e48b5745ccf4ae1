"""What the report of a codec says is what its files and other formats' files weigh."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.fit import Fit
from kenspeckle.data.formats import formats, psnr
from kenspeckle.errors import MissingExtra
from kenspeckle.models.codec import Codec, compressed, decompressed
from kenspeckle.tasks.compress import OURS, THEIRS, Compress
from kenspeckle.tasks.task import Choices
from kenspeckle.trust.report import sentence


def tiny(stride: int = 8) -> Codec:
    torch.manual_seed(0)
    return Codec(stride, width=8, latents=12, hyper_latents=4)


class Images:
    """Images of their own sizes, one at a time."""

    def __init__(self, *pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.pixels[int(rows)]).permute(2, 0, 1)[None]


def waves(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    colours = [127 + 60 * np.sin(x / 4 + c) + 50 * np.cos(y / 5) for c in range(channels)]
    return np.stack(colours, 2).clip(0, 255).astype(np.uint8)


def answer(share: float, gain: float = 0.0) -> Answer:
    """Files of ours that take `share` of the others' bytes at equal PSNR, or lie `gain` higher."""
    figures = {}
    for name, qualities in [("ours", OURS), *((name, THEIRS) for name in formats())]:
        for quality in qualities:
            height = 20 + quality / 5 + (gain if name == "ours" else 0)
            size = 100 * 2 ** (quality / 25)
            figures[f"{name} {quality} bytes"] = size * (share if name == "ours" else 1)
            figures[f"{name} {quality} psnr"] = height
    return Answer("a.png", None, {}, "", figures=figures)


def report_of(answers: list[Answer], model_bytes: int = 10_000) -> dict:
    task = Compress((), model_bytes=model_bytes)
    labels = [""] * len(answers)
    scores = {name: score.as_dict() for name, score in task.score(answers, labels).items()}
    measured = {"n": len(answers), "how": "held out"}
    details = task.details(answers, labels)
    return {"kind": "compress", "scores": scores, "measured": measured, **details}


# ---------------------------------------------------------------- what is said


def test_half_the_bytes_at_equal_quality_is_a_rate_of_minus_a_half():
    report = report_of([answer(0.5)] * 40)
    score = report["scores"]["bd_rate_jpeg_error"]
    assert score["value"] == pytest.approx(-0.5)
    assert [row["codec"] for row in report["against"]] == list(formats())
    assert sentence(report).startswith(
        "On images like these its files are about 50 % smaller than JPEG's at equal quality (PSNR; "
        "between 50 % and 50 % smaller, measured on 40 held-out images"
    )


def test_the_rate_is_the_mean_over_images():
    answers = [answer(0.4)] * 20 + [answer(1.2)] * 20
    score = report_of(answers)["scores"]["bd_rate_jpeg_error"]
    assert score["value"] == pytest.approx(-0.2)
    assert -0.4 < score["low"] < -0.2 < score["high"] < 0.05


def test_larger_files_are_said_to_be_larger():
    assert "about 20 % larger than JPEG's" in sentence(report_of([answer(1.2)] * 4))


def test_images_without_a_common_quality_are_left_out_and_counted():
    report = report_of([answer(0.5), answer(0.5), answer(0.9, gain=70)])
    assert report["scores"]["bd_rate_jpeg_error"]["value"] == pytest.approx(-0.5)
    assert report["against"][0]["images"] == 2
    assert "measured on 2 held-out images" in sentence(report)


def test_with_no_common_quality_at_all_there_is_no_score():
    report = report_of([answer(0.9, gain=70)] * 3)
    assert report["scores"] == {}
    assert report["against"] == []
    assert report["saved"] is None


def test_images_of_one_group_count_once():
    task = Compress(())
    score = task.score([answer(0.5)] * 6, [""] * 6, ["a", "a", "b", "b", "c", "c"])
    assert score["bd_rate_jpeg_error"].n == 3


def test_a_model_pays_when_its_bytes_are_saved():
    answers = [answer(0.5)] * 3  # 400 bytes at quality 50 become 200
    intro = Compress.tables(report_of(answers, model_bytes=10_001))[0].intro
    assert "takes 0.0 MB" in intro
    assert "saves 200 bytes against JPEG, so that it pays from 51 images on" in intro


def test_a_model_that_saves_nothing_never_pays():
    assert "no number of images makes up for" in Compress.tables(report_of([answer(1.5)]))[0].intro


def test_every_measured_point_is_a_row():
    _, points = Compress.tables(report_of([answer(0.5)]))
    assert len(points.rows) == len(OURS) + len(formats()) * len(THEIRS)
    assert points.rows[2] == ["this codec 50", "200", "30.00"]


# ---------------------------------------------------------------- what is measured


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_are_those_of_real_files(channels):
    codec, pixels = tiny(), waves(30, 41, channels)
    Compress((), stride=8).finish(codec)
    (found,) = Compress((), stride=8).answered(codec, Images(pixels), ["a.png"], [(41, 30)])
    for quality in OURS:
        content = compressed(codec, pixels, quality)
        assert found.figures[f"ours {quality} bytes"] == len(content)
        near = psnr(pixels, decompressed(codec, content))
        assert found.figures[f"ours {quality} psnr"] == near
    assert found.figures["jpeg 95 bytes"] > found.figures["jpeg 5 bytes"]


def test_finishing_makes_it_write_and_counts_its_bytes():
    task, codec = Compress((), stride=8), tiny()
    task.finish(codec)
    assert codec.entropy.is_frozen
    assert not codec.training
    assert task.kept() == {"stride": 8, "model_bytes": task.model_bytes}
    assert task.model_bytes > 4 * sum(p.numel() for p in codec.parameters())


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("typical", "patch", "stride"),
    [
        ((32, 32), 32, 8),
        ((63, 200), 32, 8),
        ((64, 64), 64, 8),
        ((95, 95), 64, 8),
        ((96, 200), 128, 16),
        (None, 128, 16),
    ],
)
def test_small_images_get_small_patches_and_strides(typical, patch, stride):
    assert Compress.shape_for(typical) == (patch, patch)
    task = Compress.for_data(Dataset.__new__(Dataset), [], Choices(fit=Fit(patch)))
    assert (task.patch, task.stride) == (patch, stride)
    again = Compress((), **task.kept())
    assert again.network(None).stride == stride


@pytest.mark.parametrize(
    ("image", "patch", "count"),
    [((40, 40), 32, 1000), ((640, 512), 32, 1280), ((2000, 2000), 32, 4000)],
)
def test_an_epoch_sees_every_pixel_four_times_within_limits(image, patch, count):
    images = Images(np.zeros((*image, 3), np.uint8))
    patches, *_ = Compress((), image_size=patch, stride=8).learnable(
        images, [""], torch.ones(1), [image], 0
    )
    assert len(patches) == count
    assert patches[torch.tensor([0])].shape == (1, 3, patch, patch)


def test_the_loss_that_is_watched_repeats_and_leaves_chance_alone():
    codec, images = tiny().eval(), torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    batch = Batch(images, torch.zeros(6), torch.ones(6), torch.arange(6))
    task = Compress((), stride=8)
    before = torch.get_rng_state()
    assert task.loss(codec, batch, "network") == task.loss(codec, batch, "network")
    assert torch.equal(before, torch.get_rng_state())
    codec.train()
    assert task.loss(codec, batch, "network") != task.loss(codec, batch, "network")


def test_a_missing_package_is_told_before_hours_of_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(MissingExtra, match=r"pip install 'kenspeckle\[compress\]'"):
        Compress.for_data(Dataset.__new__(Dataset), [], Choices(fit=Fit(32)))
