"""The packaged network is the published one, and its faster copy is the same network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from kenspeckle.models.efficientnet_lite import EfficientNetLite, _SamePad
from kenspeckle.models.pretrained import (
    imagenet_head,
    imagenet_names,
    imagenet_synsets,
    make_backbone,
)
from kenspeckle.models.runtime import faster_precision, for_inference, forward, in_parallel


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLite:
    return make_backbone("efficientnet-lite0").eval()


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """A Chinese temple and a dahlia, (2, 3, 224, 224) uint8, cut from their middles."""
    squares = []
    for pixels in load_sample_images().images:
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
        top, left = (image.shape[-2] - 420) // 2, (image.shape[-1] - 420) // 2
        cut = image[..., top : top + 420, left : left + 420]
        small = torch.nn.functional.interpolate(cut, (224, 224), mode="bicubic", antialias=True)
        squares.append(small.clamp(0, 255).round().to(torch.uint8))
    return torch.cat(squares)


def answers(backbone: torch.nn.Module, images: torch.Tensor) -> list[str]:
    with torch.inference_mode():
        logits = imagenet_head()(backbone(images).mean((2, 3)))
    return [imagenet_names()[i] for i in logits.argmax(1)]


def test_two_photographs_show_a_palace_and_a_daisy(lite0, photographs):
    assert answers(lite0, photographs) == ["palace", "daisy"]


def test_it_has_the_published_number_of_weights(lite0):
    # 4.7 million with the 1000-class layer (TensorFlow TPU repository, EfficientNet-Lite table)
    head = sum(p.numel() for p in imagenet_head().parameters())
    assert head == 1281 * 1000
    assert round((sum(p.numel() for p in lite0.parameters()) + head) / 1e6, 1) == 4.7


def test_the_maps_halve_as_the_paper_says(lite0):
    with torch.inference_mode():
        maps = lite0.stages(torch.zeros(1, 3, 224, 224))
    assert [(m.shape[1], m.shape[2]) for m in maps] == [
        *((16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (192, 7), (320, 7)),
        (1280, 7),
    ]


def test_grey_is_colour_with_equal_channels(lite0):
    grey = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(lite0(grey), lite0(grey.expand(-1, 3, -1, -1)))


def test_bytes_are_shares_of_255(lite0):
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(lite0(pixels), lite0(pixels.float() / 255), atol=1e-5)


def test_the_folded_copy_gives_the_same_maps(lite0, photographs):
    with torch.inference_mode():
        plain, folded = lite0.stages(photographs), for_inference(lite0).stages(photographs)
    for one, other in zip(plain, folded, strict=True):
        assert (one - other).abs().max() <= 1e-4 * max(1.0, float(one.abs().max()))


def test_folding_leaves_the_original_alone(lite0):
    before = {name: t.clone() for name, t in lite0.state_dict().items()}
    for_inference(lite0)
    after = lite0.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_bfloat16_answers_nearly_the_same(lite0, photographs):
    folded = for_inference(lite0)
    exact, rounded = (
        torch.nn.functional.normalize(forward(folded, photographs, p).mean((2, 3)), dim=1)
        for p in ("float32", "bfloat16")
    )
    assert (exact * rounded).sum(1).min() > 0.99


def test_the_precision_that_is_chosen_is_one_of_two(lite0):
    small = torch.zeros(1, 3, 32, 32)
    assert faster_precision(for_inference(lite0), small) in ("float32", "bfloat16")


def test_in_parallel_is_the_same_as_one_after_another(lite0):
    images = torch.rand(19, 3, 32, 32)

    def pooled(some: torch.Tensor) -> torch.Tensor:
        return lite0(some).mean((2, 3))

    seen = []
    found = in_parallel(pooled, images, "float32", lambda done, total: seen.append((done, total)))
    alone = torch.cat([forward(pooled, images[i : i + 1], "float32") for i in range(19)])
    assert torch.allclose(found, alone, atol=1e-4)
    assert seen == [(16, 19), (19, 19)]


@pytest.mark.parametrize("side", range(1, 12))
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_tensorflows_same(side, kernel):
    row = _SamePad(kernel, 2)(torch.ones(1, 1, side, side))[0, 0].amax(0)
    assert (len(row) - kernel) // 2 + 1 == -(-side // 2)
    filled = torch.nonzero(row)
    left, right = int(filled[0]), len(row) - 1 - int(filled[-1])
    assert right - left in (0, 1)


def test_there_are_a_thousand_names_each_once():
    assert len(imagenet_names()) == len(set(imagenet_names())) == 1000
    assert len(set(imagenet_synsets())) == 1000
    assert imagenet_synsets()[0] == "n01440764"
    assert imagenet_names()[0] == "tench"
