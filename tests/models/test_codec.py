"""The codec's bytes give its latents back exactly, on every machine, and nothing else passes."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.stream import TILE, CorruptStream, OtherModel, unpacked
from kenspeckle.models.codec import (
    LAMBDA_HIGH,
    LAMBDA_LOW,
    MARGIN,
    SPREAD,
    Codec,
    bd_rate,
    codec_loss,
    compressed,
    cosines,
    decompressed,
    drawn_levels,
    read_latents,
    reflected,
)

ELSEWHERE = r"""
import hashlib, sys, torch
from kenspeckle.models.codec import Codec, read_latents
codec = Codec(stride=8, width=8, latents=12, hyper_latents=4)
codec.load_state_dict(torch.load(sys.argv[1], weights_only=True))
latents = read_latents(codec, open(sys.argv[2], "rb").read())
print(torch.backends.cpu.get_cpu_capability(), hashlib.sha256(latents.tobytes()).hexdigest())
"""


def small(stride: int = 8, seed: int = 0, log_gain: float = 2.0) -> Codec:
    """An untrained codec whose latents and predictions are not all zero."""
    torch.manual_seed(seed)
    codec = Codec(stride=stride, width=8, latents=12, hyper_latents=4)
    with torch.no_grad():
        codec.log_gain += log_gain
        codec.log_hyper_gain += 1.5
        for layer in codec.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.orthogonal_(layer.weight)
    codec.freeze()
    return codec


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth waves with a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 5 + c) + np.cos(y / (7 + c)) for c in range(channels)], 2)
    return np.clip(127 + 50 * waves + random.normal(0, 4, waves.shape), 0, 255).astype(np.uint8)


def images_of(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().expand(1, 3, -1, -1) / 255


def hashed(latents: np.ndarray) -> str:
    return hashlib.sha256(latents.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return small()


@pytest.fixture
def _coder():
    pytest.importorskip("constriction")


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 33), (64, 48)])
def test_images_keep_their_size(stride, height, width):
    coded = small(stride)(torch.rand(2, 3, height, width), torch.tensor([0.0, 4.9]))
    assert coded.images.shape == (2, 3, height, width)
    assert coded.bits.shape == (2,)
    assert (coded.bits > 0).all()


def test_the_loss_is_rate_and_weighted_error(codec):
    images, level = torch.rand(3, 3, 16, 24), torch.tensor([0.0, 2.5, 5.0])
    torch.manual_seed(1)
    found = codec_loss(codec, images, level)
    torch.manual_seed(1)
    coded = codec(images, level)
    error = ((coded.images - images) * 255).square().flatten(1).mean(1)
    weight = torch.tensor([LAMBDA_LOW, math.sqrt(LAMBDA_LOW * LAMBDA_HIGH), LAMBDA_HIGH])
    assert torch.allclose(found, coded.bits / (16 * 24) + weight * error, rtol=1e-4)


def test_the_price_of_an_image_does_not_depend_on_its_batch(codec):
    images, level = torch.rand(2, 3, 16, 16), torch.tensor([1.2, 3.7])
    together = codec(images, level).images
    alone = torch.cat([codec(images[i : i + 1], level[i : i + 1]).images for i in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_plain_image_looks_the_same_at_any_size(stride):
    codec, colour = small(stride), torch.tensor([0.2, 0.7, 0.4]).view(1, 3, 1, 1)
    little, large = (
        codec.analysed(colour.expand(1, 3, side, side)) for side in (4 * stride, 12 * stride)
    )
    assert torch.allclose(little.tile(1, 1, 3, 3), large, atol=1e-5)
    hyper = codec.hyper_analysis(little)
    assert torch.allclose(hyper.expand(-1, -1, 3, 3), codec.hyper_analysis(large), atol=1e-4)


def test_its_identity_is_that_of_its_weights():
    one, other = small().eval(), small(seed=1).eval()
    before = one.identity()
    assert before == one.identity() == small().eval().identity() != other.identity()
    one.load_state_dict(other.state_dict())
    assert one.identity() == other.identity()
    with torch.no_grad():
        one.train().log_gain += 1
    trained = one.eval().identity()
    assert trained != other.identity()
    one.freeze()
    assert one.identity() != trained


def test_every_parameter_learns(codec):
    codec_loss(codec, torch.rand(4, 3, 32, 32), drawn_levels(4)).sum().backward()
    silent = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    codec.zero_grad()
    assert silent == []


def test_it_learns_one_image():
    torch.manual_seed(0)
    learner = Codec(stride=8, width=16, latents=16, hyper_latents=4)
    images = images_of(picture(32, 32)).repeat(4, 1, 1, 1)
    optimiser = torch.optim.Adam(learner.parameters(), 3e-3)
    losses = []
    for _ in range(80):
        loss = codec_loss(learner, images, drawn_levels(4)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.1 * losses[0]


@pytest.mark.parametrize("side", [4, 8, 16])
def test_waves_are_orthonormal_and_the_widest_come_first(side):
    waves, spreads = cosines(side, 3 * side**2)
    assert torch.allclose(waves.flatten(1) @ waves.flatten(1).T, torch.eye(3 * side**2), atol=1e-5)
    assert torch.allclose(waves[0], torch.full((3, side, side), 1 / (side * math.sqrt(3))))
    assert (spreads.diff() <= 0).all()


def test_with_all_waves_nothing_is_lost_before_training():
    codec, images = Codec(stride=8, width=8, latents=192, hyper_latents=4), torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        assert torch.allclose(codec.synthesised(codec.analysed(images)), images, atol=1e-5)


def test_the_first_step_is_the_best_one_of_a_fine_quantiser():
    steps = np.exp(np.linspace(-6, 0, 20_001))
    for level, gain in enumerate(Codec(stride=8, width=8, latents=12).log_gain[:, 0].exp()):
        price = LAMBDA_LOW * (LAMBDA_HIGH / LAMBDA_LOW) ** (level / 5)
        # Error of a uniform quantiser, and bits of three colours but for a constant.
        loss = price * 255**2 * steps**2 / 12 - 3 * np.log2(steps)
        assert 1 / (SPREAD * gain.item()) == pytest.approx(steps[loss.argmin()], rel=1e-3)


@pytest.mark.parametrize("count", [1, 6, 31])
def test_levels_are_spread_evenly(count):
    levels = drawn_levels(count).sort().values * count / 5
    assert (levels.floor() == torch.arange(count)).all()


@pytest.mark.parametrize("stride", [4, 12, 32])
def test_another_stride_is_refused(stride):
    with pytest.raises(ValueError, match="stride 8 or 16"):
        Codec(stride=stride)


@pytest.mark.parametrize("size", [1, 2, 3, 9, 16, 17])
def test_padding_goes_back_and_forth_as_in_a_mirror(size):
    padded = reflected(torch.arange(size).view(1, 1, 1, size).float(), 8)
    assert padded.shape == (1, 1, 8, -(-size // 8) * 8)
    way = [*range(size), *range(size - 2, 0, -1)]
    assert padded[0, 0, 0].tolist() == [way[i % len(way)] for i in range(padded.shape[-1])]


# ---------------------------------------------------------------- bytes


@pytest.mark.usefixtures("_coder")
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 50), st.integers(1, 50), st.sampled_from([1, 3]), st.sampled_from([1, 47, 100])
)
def test_any_size_comes_back_in_its_shape(height, width, channels, quality):
    codec = small()
    content = compressed(codec, picture(height, width, channels), quality)
    assert decompressed(codec, content).shape == (height, width, channels)
    stream = unpacked(content)
    assert (stream.quality, stream.is_grey) == (quality, channels == 1)


@pytest.mark.usefixtures("_coder")
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("quality", [1, 34, 100])
def test_bytes_say_what_training_foresaw(stride, quality):
    codec, pixels = small(stride), picture(90, 70)
    content = compressed(codec, pixels, quality)
    with torch.no_grad():
        coded = codec(images_of(pixels), torch.tensor([(quality - 1) * 5 / 99]))
    assert len(content) - 18 == pytest.approx(float(coded.bits) / 8, rel=0.05, abs=8)
    foreseen = (coded.images[0] * 255).clamp(0, 255).permute(1, 2, 0).numpy()
    far = np.abs(decompressed(codec, content) - foreseen)
    assert far.mean() < 2  # a mean in sixteenths now and then rounds a latent the other way


@pytest.mark.usefixtures("_coder")
def test_a_dearer_price_buys_more_bytes(codec):
    sizes = [len(compressed(codec, picture(64, 64), quality)) for quality in range(1, 101, 9)]
    assert sizes == sorted(set(sizes))


@pytest.mark.usefixtures("_coder")
def test_the_same_image_gives_the_same_bytes(codec):
    assert compressed(codec, picture(40, 40), 60) == compressed(codec, picture(40, 40), 60)


@pytest.mark.usefixtures("_coder")
@pytest.mark.parametrize("kind", ["noise", "checkerboard", "black", "white"])
def test_latents_far_beyond_the_tables_are_written_all_the_same(kind):
    codec = small(log_gain=6.0)  # latents of thousands
    y, x = np.mgrid[:24, :24]
    pixels = {
        "noise": np.random.default_rng(0).integers(0, 256, (24, 24, 3)),
        "checkerboard": np.repeat(((x + y) % 2 * 255)[..., None], 3, 2),
        "black": np.zeros((24, 24, 3)),
        "white": np.full((24, 24, 3), 255),
    }[kind].astype(np.uint8)
    with torch.no_grad():
        unrounded = codec.synthesised(codec.analysed(images_of(pixels)))[0]
    expected = (unrounded * 255).clamp(0, 255).permute(1, 2, 0).numpy()
    content = compressed(codec, pixels, 100)
    assert np.abs(read_latents(codec, content)).max() > 16 * 300
    assert np.abs(decompressed(codec, content) - expected).max() <= 1


@pytest.mark.usefixtures("_coder")
def test_grey_comes_back_grey(codec):
    grey = picture(30, 30, 1)
    back = decompressed(codec, compressed(codec, grey, 100))
    colour = decompressed(codec, compressed(codec, np.repeat(grey, 3, 2), 100))
    assert np.abs(back[..., 0] - colour.mean(2)).max() <= 0.5


# ---------------------------------------------------------------- tiles


@pytest.mark.parametrize("stride", [8, 16])
def test_pixels_of_a_tile_depend_on_no_latent_beyond_its_margin(stride):
    codec = small(stride)
    latents = torch.randn(1, 12, 24, 1)
    changed = latents.clone()
    changed[:, :, 12 + MARGIN :] += 100
    with torch.no_grad():
        one, other = (codec.synthesised(x)[..., : 12 * stride, :] for x in (latents, changed))
    assert torch.equal(one, other)


@pytest.mark.parametrize("stride", [8, 16])
def test_latents_of_a_tile_depend_on_no_pixel_beyond_its_margin(stride):
    codec = small(stride)
    images = torch.rand(1, 3, 24 * stride, stride)
    changed = images.clone()
    changed[:, :, (12 + MARGIN) * stride :] += 100
    with torch.no_grad():
        one, other = (codec.analysed(x)[:, :, :12] for x in (images, changed))
    assert torch.equal(one, other)


@pytest.mark.usefixtures("_coder")
def test_two_tiles_meet_without_a_seam():
    codec, pixels = small(16, log_gain=5.0), picture(TILE + 6, 40)
    content = compressed(codec, pixels, 100)
    assert len(unpacked(content).tiles) == 2
    with torch.no_grad():
        whole = codec.synthesised(codec.analysed(images_of(pixels)))[0]
    expected = (whole * 255).clamp(0, 255).permute(1, 2, 0).numpy()[: TILE + 6, :40]
    far = np.abs(decompressed(codec, content) - expected)
    assert far[TILE - 64 :].mean() < 1.2 * far[: TILE - 64].mean() + 0.1


# ---------------------------------------------------------------- exactness and damage


@pytest.mark.usefixtures("_coder")
@pytest.mark.parametrize("quality", [1, 50, 100])
def test_threads_and_kernels_do_not_change_a_latent(codec, quality, monkeypatch):
    content = compressed(codec, picture(120, 90), quality)
    expected = hashed(read_latents(codec, content))
    pixels = decompressed(codec, content).astype(int)
    torch.set_num_threads(2)
    assert hashed(read_latents(codec, content)) == expected
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert hashed(read_latents(codec, content)) == expected
    assert np.abs(decompressed(codec, content) - pixels).max() <= 1


@pytest.mark.usefixtures("_coder")
def test_an_older_processor_reads_the_same_latents(codec, tmp_path):
    weights, file = tmp_path / "codec.pt", tmp_path / "picture.ken"
    torch.save(codec.state_dict(), weights)
    content = compressed(codec, picture(120, 90), 80)
    file.write_bytes(content)
    old = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    }
    found = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(weights), str(file)],
        env={**os.environ, **old},
        capture_output=True,
        text=True,
        check=True,
    )
    said, expected = found.stdout.split(), hashed(read_latents(codec, content))
    assert said == ["DEFAULT", expected]


@pytest.mark.usefixtures("_coder")
def test_a_codec_that_was_saved_and_loaded_reads_its_streams(codec):
    other = small(seed=1)
    other.load_state_dict(codec.state_dict())
    content = compressed(codec, picture(40, 50), 70)
    assert np.array_equal(decompressed(other, content), decompressed(codec, content))


@pytest.mark.usefixtures("_coder")
def test_another_models_stream_is_refused(codec):
    content = compressed(codec, picture(20, 20), 50)
    with pytest.raises(OtherModel, match=codec.identity().hex()):
        decompressed(small(seed=1), content)


def test_one_weight_makes_another_model():
    codec = small()
    before = codec.identity()
    with torch.no_grad():
        codec.hyper_mean[0] += 1e-6
    assert codec.identity() != before
    assert len(before) == 8


@pytest.mark.usefixtures("_coder")
@pytest.mark.parametrize("channels", [1, 3])
def test_no_change_of_a_byte_and_no_cut_gives_a_picture(codec, channels):
    content = compressed(codec, picture(24, 20, channels), 30)
    random = np.random.default_rng(0)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= int(random.integers(1, 256))
        with pytest.raises(CorruptStream):
            decompressed(codec, bytes(damaged))
        with pytest.raises(CorruptStream):
            decompressed(codec, content[:place])


def test_a_codec_that_was_not_frozen_writes_nothing():
    with pytest.raises(AssertionError, match="freeze"):
        compressed(Codec(stride=8), picture(8, 8), 50)


# ---------------------------------------------------------------- comparison


RATES, PSNRS = [0.2, 0.5, 1.1, 2.0], [27.0, 30.5, 34.0, 37.0]


def test_a_curve_against_itself_is_0():
    assert bd_rate(RATES, PSNRS, RATES[::-1], PSNRS[::-1]) == pytest.approx(0)


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3])
def test_a_curve_that_is_cheaper_throughout_is_that_much_cheaper(factor):
    cheaper = [factor * rate for rate in RATES]
    assert bd_rate(RATES, PSNRS, cheaper, PSNRS) == pytest.approx(100 * (factor - 1))


def test_there_and_back_is_1():
    other = [0.1, 0.4, 0.9, 2.2], [26.0, 30.0, 33.0, 38.0]
    there, back = bd_rate(RATES, PSNRS, *other), bd_rate(*other, RATES, PSNRS)
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_of_points_of_equal_psnr_the_cheapest_counts():
    more = [*RATES, 9.0], [*PSNRS, PSNRS[1]]
    assert bd_rate(RATES, PSNRS, *more) == pytest.approx(0)


def test_curves_that_do_not_meet_cannot_be_compared():
    assert math.isnan(bd_rate(RATES, PSNRS, RATES, [10, 11, 12, 13]))
