"""What a name stands for, and how one sample is read for a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.bundle.manifest import Config
from kenspeckle.data.dataset import Sample
from kenspeckle.data.source import File, Text
from kenspeckle.errors import DataError, UnreadableImage
from kenspeckle.verbs.readings import READINGS


def bundle(**about) -> Bundle:
    usual = {"task": "classify", "model": "cnn", "classes": ("a",), "head": "pooled"}
    return Bundle(Config(**{**usual, "image_size": 8, "resize": "pad", **about}), {})


def test_a_string_with_strangers_names_them_all():
    model = bundle(settings={"alphabet": "ab"})
    with pytest.raises(UnreadableImage, match="never learned: ' !xé'"):
        READINGS["pairs"].one(Sample("", Text("abax é!")), model)
    assert READINGS["pairs"].one(Sample("", Text("ab")), model).values.tolist() == [97, 98]


def test_an_image_comes_with_the_size_of_its_original(tmp_path):
    Image.new("L", (40, 20)).save(tmp_path / "a.png")
    given = READINGS["images"].one(Sample("a", File(tmp_path / "a.png")), bundle())
    assert given.values.shape == (1, 8, 8)
    assert given.size == (40, 20)


def test_an_image_becomes_the_rectangle_of_its_model(tmp_path):
    Image.new("L", (40, 20)).save(tmp_path / "a.png")
    given = READINGS["images"].one(Sample("a", File(tmp_path / "a.png")), bundle(image_width=32))
    assert given.values.shape == (1, 8, 32)


def test_grey_and_coloured_images_become_one_batch(tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "grey.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "colour.png")
    reading, model = READINGS["images"], bundle()
    paths = (tmp_path / "grey.png", tmp_path / "colour.png")
    batch = reading.together([reading.one(Sample("", File(p)), model) for p in paths])
    assert batch.shape == (2, 3, 8, 8)
    assert (batch[0] == 7).all()


@pytest.mark.parametrize("reads", ["images", "sequences", "clips", "pixels"])
def test_a_name_that_leads_to_nothing_is_refused(reads, tmp_path):
    with pytest.raises(DataError, match="There is no"):
        READINGS[reads].named(str(tmp_path / "nothing"), reads)


def test_sequences_of_several_lengths_are_filled_with_what_is_no_number(tmp_path):
    reading, model = READINGS["sequences"], bundle(features=2)
    for length in (2, 4):
        np.save(tmp_path / f"{length}.npy", np.ones((length, 2), np.float32))
    given = [reading.one(Sample(p.name, File(p)), model) for p in sorted(tmp_path.glob("*.npy"))]
    batch = reading.together(given)
    assert batch.shape == (2, 4, 2)
    assert torch.isnan(batch[0, 2:]).all()
    assert not torch.isnan(batch[1]).any()


def test_a_clip_of_frames_becomes_one_step_a_frame(tmp_path):
    for k, light in enumerate((10, 200, 90)):
        Image.new("RGB", (32, 32), (light, light, light)).save(tmp_path / f"{k}.png")
    (sample,) = READINGS["clips"].named(str(tmp_path), "clips")
    changes = READINGS["clips"].one(sample, bundle()).values
    frames = READINGS["clips"].one(sample, bundle(looks="frames")).values
    assert len(changes) == len(frames) == 3
    assert not changes[0].any()  # nothing has changed by the first frame
    assert changes[1:].any(1).all()
