"""The network begins by changing nothing, learns to mend, and says how far it may be off."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kenspeckle.data.degrade import degraded, degraded_by
from kenspeckle.models.restorer import (
    BETA,
    EDGE,
    GAUSSIAN_MEDIAN,
    Restored,
    Restorer,
    estimate_sigma,
    restore_loss,
)
from kenspeckle.models.tiles import in_tiles

KODAK = Path(__file__).parents[3] / "shared" / "data" / "kodak-odd.zip"


def shaken(width: int = 8, depth: int = 4) -> Restorer:
    """A network none of whose layers is zero."""
    network = Restorer(width, depth)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d) and not layer.weight.any():
            torch.nn.init.normal_(layer.weight, std=0.1)
    return network


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 5), (12, 9), (16, 16)])
def test_untrained_it_changes_nothing_at_any_size(shape):
    images = torch.rand(2, 3, *shape)
    mended = Restorer(8, 4)(images, torch.tensor([25.0, 50.0]), torch.tensor([10.0, 90.0]))
    assert torch.equal(mended.images, images)
    assert mended.log_variance.shape == mended.deviation.shape == (2, 1, *shape)
    assert (mended.deviation > 0).all()


def test_it_has_as_many_weights_as_a_cpu_bears():
    assert round(sum(p.numel() for p in Restorer().parameters()) / 1e3) == 322


def test_nothing_said_is_no_noise_no_compression_and_no_hole():
    network, images = shaken(), torch.rand(2, 3, 9, 8)
    said = network(
        images, torch.zeros(2), torch.full((2,), 100.0), torch.zeros(2, 1, 9, 8, dtype=torch.bool)
    )
    assert torch.equal(network(images).images, said.images)


@pytest.mark.parametrize("told", ["sigma", "quality", "mask"])
def test_what_it_is_told_matters(told):
    network, images = shaken(), torch.rand(1, 3, 8, 8)
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 3, 4] = True
    values = {"sigma": torch.tensor([25.0]), "quality": torch.tensor([10.0]), "mask": mask}
    assert not torch.equal(network(images, **{told: values[told]}).images, network(images).images)


def test_an_odd_side_is_an_even_one_whose_last_pixels_are_doubled():
    network, images = shaken(), torch.rand(1, 3, 7, 9)
    rows, columns = [*range(7), 6], [*range(9), 8]
    whole = network(images[:, :, rows][..., columns])
    for ours, theirs in zip(network(images), whole, strict=True):
        assert torch.equal(ours, theirs[..., :7, :9])


def test_images_of_a_batch_do_not_meet():
    network, images = shaken(), torch.rand(3, 3, 10, 10)
    sigma = torch.tensor([0.0, 25.0, 50.0])
    together = network(images, sigma)
    for number in range(3):
        alone = network(images[[number]], sigma[[number]])
        assert torch.allclose(alone.images[0], together.images[number], atol=1e-6)


@pytest.mark.parametrize("depth", [2, 4])
def test_no_output_depends_on_what_lies_beyond_its_reach(depth):
    network = shaken(6, depth)
    images = torch.rand(1, 3, 40, 40, requires_grad=True)
    for at in ((20, 20), (21, 19)):
        images.grad = None
        network(images).images[..., at[0], at[1]].sum().backward()
        rows, columns = images.grad[0].abs().sum(0).nonzero(as_tuple=True)
        distance = max((rows - at[0]).abs().max(), (columns - at[1]).abs().max())
        assert network.reach - 1 <= distance <= network.reach


@pytest.mark.parametrize("shape", [(61, 90), (64, 37)])
def test_tiles_leave_no_seam(shape):
    network, image = shaken().double(), torch.rand(1, 4, *shape, dtype=torch.float64)
    image[:, 3:] = (image[:, 3:] > 0.9).double()

    def mend(part: torch.Tensor) -> torch.Tensor:
        told = torch.tensor([30.0], dtype=torch.float64)
        return torch.cat(network(part[:, :3], told, mask=part[:, 3:]), dim=1)

    with torch.no_grad():
        tiled = in_tiles(mend, image, 16, network.reach, network.multiple)
        assert torch.allclose(tiled, mend(image), atol=1e-6)


def test_the_loss_is_its_formula():
    images, clean = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    log_variance = torch.randn(2, 1, 4, 5) - 3
    for b, loss in enumerate(restore_loss(Restored(images, log_variance), clean)):
        total = 0.0
        for y in range(4):
            for x in range(5):
                error = [(images[b, c, y, x] - clean[b, c, y, x]).item() for c in range(3)]
                total += sum(math.hypot(e, EDGE) - EDGE for e in error) / 3
                squared = sum(e**2 for e in error) / 3
                variance = math.exp(log_variance[b, 0, y, x].item())
                surprise = (math.log(variance) + squared / variance) / 2
                total += variance**BETA * surprise
        assert loss.item() == pytest.approx(total / 20, rel=1e-4)


def test_the_deviation_costs_no_accuracy():
    """Whatever deviation is stated, the gradient that mends the images is the same."""
    network = shaken()
    images, clean = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    gradients = []
    for bias in (-10.0, -1.0):
        torch.nn.init.constant_(network.doubt[-1].bias, bias)
        network.zero_grad()
        restore_loss(network(images), clean).mean().backward()
        mending = [*network.trunk.parameters(), *network.change.parameters()]
        gradients.append(torch.cat([p.grad.flatten() for p in mending]))
    assert torch.equal(*gradients)


def test_the_loss_is_least_where_the_deviation_is_true():
    error = 0.1 * torch.randn(1, 3, 60, 60)
    log_variance = torch.full((1, 1, 60, 60), math.log(0.1**2), requires_grad=True)
    restore_loss(Restored(error, log_variance), torch.zeros_like(error)).sum().backward()
    slope = log_variance.grad.sum().item()
    # In units of its own weight, .1 ** (2 * BETA): the mean squared error is .01 within 2 %.
    assert abs(slope) / 0.1 ** (2 * BETA) < 0.02


def test_sure_and_wrong_is_dearer_than_unsure_and_wrong():
    images, clean = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.3)
    sure, unsure = torch.full((1, 1, 4, 4), -12.0), torch.full((1, 1, 4, 4), math.log(0.09))
    assert restore_loss(Restored(images, sure), clean) > restore_loss(
        Restored(images, unsure), clean
    )


def stripes(count: int) -> torch.Tensor:
    """(count, 3, 16, 16): two colours, each on its side of a slanted edge."""
    place = torch.arange(16.0)
    angle, shift = 2 * math.pi * torch.rand(2, count, 1, 1)
    side = (place[:, None] - 7.5) * angle.cos() + (place - 7.5) * angle.sin() + shift - math.pi > 0
    colours = torch.rand(2, count, 3, 1, 1)
    return torch.where(side[:, None], *colours)


@pytest.mark.slow
def test_it_learns_to_take_noise_away_and_how_well_it_did():
    network = Restorer(16, 4)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(500):
        clean = stripes(8)
        seen = degraded(clean, ["noise"])
        optimiser.zero_grad()
        loss = restore_loss(network(seen.images, seen.sigma, seen.quality, seen.mask), clean)
        loss.mean().backward()
        optimiser.step()
    clean = stripes(200)
    seen = degraded_by(clean, {"noise": 40.0})
    with torch.no_grad():
        mended = network(seen.images, seen.sigma)
    before = (seen.images - clean).square().mean()
    error = (mended.images - clean).square().mean(1, keepdim=True)
    assert error.mean() < before / 3  # 5 dB; it was 6.3
    assert (error / mended.log_variance.exp()).mean() == pytest.approx(1, abs=0.5)
    is_doubted = mended.deviation > mended.deviation.median()
    assert error[is_doubted].mean() > 1.5 * error[~is_doubted].mean()


def test_the_noise_of_a_plain_image_is_found():
    images = 0.5 + torch.tensor([5.0, 20.0, 60.0])[:, None, None, None] / 255 * torch.randn(
        3, 3, 128, 129
    )
    assert estimate_sigma(images).tolist() == pytest.approx([5, 20, 60], rel=0.05)


def test_where_all_is_equally_flat_it_is_the_median_of_a_loop():
    image = torch.rand(1, 1, 2, 2).repeat(1, 1, 5, 7)
    a, b, c, d = image[0, 0, :2, :2].flatten().tolist()
    expected = abs(a - b - c + d) / 2 / GAUSSIAN_MEDIAN * 255
    assert estimate_sigma(image).item() == pytest.approx(expected, rel=1e-4)


def test_edges_and_slopes_are_not_noise():
    place = torch.linspace(0, 1, 64)
    slope = (place[:, None] + place) / 2
    image = torch.where(slope > 0.5, slope, 0.1 * slope).expand(1, 3, -1, -1)
    assert estimate_sigma(image).item() < 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_that_is_the_same_in_all_colours_is_found(channels):
    noise = torch.randn(1, 1, 128, 128).expand(-1, channels, -1, -1)
    assert estimate_sigma(0.5 + 30 / 255 * noise).item() == pytest.approx(30, rel=0.05)


def test_texture_without_colour_is_not_taken_for_noise():
    texture = 0.15 * torch.rand(1, 1, 256, 256)  # as much detail as noise of 11
    image = texture + 20 / 255 * torch.randn(1, 3, 256, 256)
    assert estimate_sigma(image.mean(1, keepdim=True)).item() > 15  # of 11.5 by the noise alone
    assert estimate_sigma(image).item() == pytest.approx(20, rel=0.05)


def test_the_noise_of_an_image_too_small_to_say_is_refused():
    with pytest.raises(ValueError, match="2 x 2 pixels at least"):
        estimate_sigma(torch.rand(1, 3, 1, 9))


@pytest.mark.shared
@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_the_noise_of_photographs_is_found_within_a_tenth(sigma):
    if not KODAK.is_file():
        pytest.skip(f"{KODAK} is not there: it lies beside the checkout, in ../shared/data")
    with zipfile.ZipFile(KODAK) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        crops = []
        for name in names:
            with archive.open(name) as file, Image.open(file) as image:
                crops.append(np.array(image.convert("RGB"))[128:384, 256:512])
    clean = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    seen = degraded_by(clean, {"noise": float(sigma)}, torch.Generator().manual_seed(0))
    found = estimate_sigma(seen.images)
    assert len(found) == 12
    assert ((found / sigma - 1).abs() < 0.1).all(), found


@pytest.mark.parametrize(("width", "depth"), [(0, 4), (8, 1), (8, 5)])
def test_a_network_of_nothing_is_refused(width, depth):
    with pytest.raises(ValueError, match="at least"):
        Restorer(width, depth)
