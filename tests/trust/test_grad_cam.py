"""Grad-CAM, where the answer can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import PooledHead
from kenspeckle.models.transformer import VisionTransformer
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.task import Network
from kenspeckle.trust.explain import EXPLANATIONS
from kenspeckle.trust.explain.grad_cam import explain_by_grad_cam


class AsIs(Backbone):
    """The image is its own waist: two channels that the head reads."""

    channels = 2

    def __init__(self) -> None:
        super().__init__(2, mean=[0.0, 0.0], std=[1.0, 1.0])

    def stages(self, images: Tensor) -> list[Tensor]:
        return [self.prepare(images)]


def linear(weights: list[list[float]]) -> Network:
    head = PooledHead(2, len(weights))
    head.linear.weight = nn.Parameter(torch.tensor(weights))
    return Network(AsIs(), head)


def test_heat_is_the_weighted_sum_of_maps_above_zero():
    network, images = linear([[1.0, -2.0], [0.0, 3.0]]), torch.rand(4, 2, 5, 5)
    for target in (0, 1):
        w = network.head.linear.weight[target].detach()
        expected = F.relu(w[0] * images[:, 0] + w[1] * images[:, 1])
        expected = expected / expected.amax((1, 2), keepdim=True)
        heat = explain_by_grad_cam(network, images, torch.full((4,), target))
        assert torch.allclose(heat, expected, atol=1e-5)


def test_the_place_of_the_evidence_is_the_hottest():
    images = torch.zeros(1, 2, 7, 7)
    images[0, 0, 2, 5] = 1
    heat = explain_by_grad_cam(linear([[1.0, 0.0], [0.0, 1.0]]), images, torch.tensor([0]))
    assert heat[0, 2, 5] == 1
    assert heat.sum() == 1


def test_where_nothing_speaks_for_a_class_there_is_no_heat():
    heat = explain_by_grad_cam(linear([[-1.0, -1.0]]), torch.rand(1, 2, 4, 4), torch.tensor([0]))
    assert not heat.any()


def test_a_weight_ten_times_larger_gives_the_same_picture():
    images, target = torch.rand(2, 2, 4, 4), torch.tensor([0, 0])
    one, ten = (explain_by_grad_cam(linear([[w, 0.5 * w]]), images, target) for w in (1.0, 10.0))
    assert torch.allclose(one, ten, atol=1e-5)


def test_images_do_not_see_one_another():
    network, images = linear([[1.0, -1.0], [-1.0, 1.0]]), torch.rand(3, 2, 4, 4)
    target = torch.tensor([0, 1, 0])
    together = explain_by_grad_cam(network, images, target)
    for i in range(3):
        alone = explain_by_grad_cam(network, images[i : i + 1], target[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-6)


@pytest.mark.parametrize("name", list(EXPLANATIONS))
def test_an_explanation_keeps_its_promise(name):
    network = Classify("abc").network(VisionTransformer(16, 2, 2))  # it suits every method
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    before = {key: t.clone() for key, t in network.state_dict().items()}
    heat = EXPLANATIONS.load(name)(network, images, torch.tensor([0, 2]))
    assert heat.shape == (2, 28, 28)
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[key], t) for key, t in network.state_dict().items())
