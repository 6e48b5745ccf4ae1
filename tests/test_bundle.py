"""A model file gives back what was put in, or says that it is damaged; never something else."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kenspeckle.bundle.bundle import Bundle, load
from kenspeckle.bundle.manifest import CONFIG as CONFIG_JSON
from kenspeckle.bundle.manifest import MANIFEST, MEMBERS, Config, manifest_for
from kenspeckle.data.strings import code_points
from kenspeckle.errors import BundleError, StorageError
from kenspeckle.models.seed_cnn import SeedCNN
from kenspeckle.models.seed_transformer import TokenEncoder
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.tag import Tag
from kenspeckle.tasks.translate import Translate

CONFIG = Config(
    task="classify",
    model="seed-cnn",
    classes=("cat", "dog"),
    head="flatten",
    image_size=28,
    resize="pad",
    settings={"temperature": 1.5},
    threshold=0.25,
    paths=("cat/1.png", "dog/caf\udce9.png", "dog/2.png"),
    labels=("cat", "dog", "dog"),
    recipe={"model": "seed-cnn"},
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    network = Classify(CONFIG.classes, head="flatten", image_size=28).network(SeedCNN())
    return Bundle(
        config=CONFIG,
        weights=network.state_dict(),
        vectors=torch.nn.functional.normalize(torch.rand(3, 64)).half(),
        reference=torch.tensor([0.1, 0.2]),
        logits=torch.rand(3, 2),
        report={"sentence": "On images like these …", "scores": {}},
        card="# A model\n",
    )


@pytest.fixture(scope="module")
def content(bundle) -> bytes:
    return bundle.to_bytes()


def says(bundle: Bundle) -> tuple[object, ...]:
    """All that a bundle holds, as values that can be compared."""
    tensors = {**bundle.weights, "vectors": bundle.vectors, "reference": bundle.reference}
    tensors["logits"] = bundle.logits
    bits = {name: (str(t.dtype), t.shape, t.numpy().tobytes()) for name, t in tensors.items()}
    return bundle.config, bits, dict(bundle.report), bundle.card


def test_what_is_saved_is_loaded(bundle, tmp_path):
    bundle.save(tmp_path / "m.ken")
    assert says(load(tmp_path / "m.ken")) == says(bundle)


def test_the_same_bundle_is_the_same_bytes(bundle, content):
    assert bundle.to_bytes() == content


def test_a_loaded_bundle_saved_again_is_the_same_bytes(content, tmp_path):
    (tmp_path / "m.ken").write_bytes(content)
    assert load(tmp_path / "m.ken").to_bytes() == content


def test_the_network_answers_as_before(bundle, tmp_path):
    images = torch.rand(3, 1, 28, 28)
    bundle.save(tmp_path / "m.ken")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "m.ken").network()(images), bundle.network()(images))


def test_it_holds_a_stored_zip_in_the_hubs_layout(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
    assert tuple(info.filename for info in infos) == MEMBERS
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}


def test_it_knows_the_training_images(bundle):
    familiar = bundle.familiar()
    assert familiar.threshold == 0.25
    assert familiar.vectors.shape == (3, 64)
    assert np.array_equal(familiar.reference, np.array([0.1, 0.2], np.float32))


def test_without_vectors_nothing_is_familiar_or_not(bundle):
    bare = replace(bundle, vectors=torch.zeros(0, 0, dtype=torch.float16))
    assert bare.familiar() is None


def test_no_threshold_means_that_nothing_is_refused(bundle):
    endless = replace(bundle, config=replace(CONFIG, threshold=None))
    assert endless.familiar().threshold == float("inf")


def test_a_disk_that_takes_nothing_is_said(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        bundle.save(tmp_path / "file" / "m.ken")


def loaded_or_refused(path: Path, content: bytes) -> Bundle | None:
    """The bundle in `content`, or None where it is refused as it should be."""
    path.write_bytes(content)
    try:
        return load(path)
    except BundleError:
        return None


def structure(content: bytes) -> list[int]:
    """The places of the zip's own bytes, outside the members' contents."""
    inside = np.zeros(len(content), bool)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30 + len(info.filename)
            inside[start : start + info.file_size] = True
    return np.flatnonzero(~inside).tolist()


def test_any_damaged_byte_of_the_zip_itself_is_refused_or_harmless(bundle, content, tmp_path):
    for place in structure(content):
        bent = bytearray(content)
        bent[place] ^= 0xFF
        found = loaded_or_refused(tmp_path / "m.ken", bytes(bent))
        assert found is None or says(found) == says(bundle), place


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused_or_harmless(bundle, content, tmp_path, share, bit):
    bent = bytearray(content)
    bent[int(share * len(content))] ^= 1 << bit
    found = loaded_or_refused(tmp_path / "m.ken", bytes(bent))
    assert found is None or says(found) == says(bundle)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_refused(content, tmp_path, share):
    assert loaded_or_refused(tmp_path / "m.ken", content[: int(share * len(content))]) is None


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_no_config_of_any_bytes_raises_anything_else(content):
    with pytest.raises(BundleError):
        Config.from_json(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def with_config(content: bytes, config: bytes) -> bytes:
    """The bundle with another config and a manifest that agrees with it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in MEMBERS[1:]} | {CONFIG_JSON: config}
    hashes = {name: hashlib.sha256(member).hexdigest() for name, member in members.items()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(MANIFEST, manifest_for(hashes))
        for name, member in members.items():
            archive.writestr(name, member)
    return made.getvalue()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=st.sampled_from([field.name for field in fields(Config)]), value=json_values)
def test_a_config_with_any_value_is_read_or_refused(content, tmp_path, key, value):
    values = json.loads(CONFIG.to_json().decode("utf-8", "surrogateescape"))
    config = json.dumps({**values, key: value}).encode()
    found = loaded_or_refused(tmp_path / "m.ken", with_config(content, config))
    assert found is None or isinstance(found.config, Config)


def test_a_config_survives_being_written(bundle):
    assert Config.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        {"temperature": 0},
        {"temperature": True},
        {"thresholds": [0.5]},
        {"thresholds": [0.5, 1]},
        {"thresholds": "half"},
        {"alphabet": 3},
        {"longest": 0},
        {"longest": "long"},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(BundleError, match="damaged"):
        Config.from_json(replace(CONFIG, settings=wrong).to_json())


def test_settings_that_the_task_does_not_know_are_refused(bundle):
    other = replace(bundle, config=replace(CONFIG, settings={"alphabet": "ab"}))
    with pytest.raises(BundleError, match="do not fit its task"):
        other.task()


def test_a_model_of_labels_keeps_its_thresholds(tmp_path):
    task = Tag(CONFIG.classes, thresholds=(0.2, 0.9), temperature=2.0, pool="max")
    config = replace(
        CONFIG, task="tag", head="pooled", pool="max", settings=task.kept(), paths=(), labels=()
    )
    made = Bundle(config=config, weights=task.network(SeedCNN()).state_dict())
    made.save(tmp_path / "m.ken")
    loaded = load(tmp_path / "m.ken")
    assert loaded.task().thresholds == (0.2, 0.9)
    assert loaded.task().temperature == 2.0
    assert loaded.network().head.pool == "max"


def test_a_model_of_pairs_writes_as_before(tmp_path):
    torch.manual_seed(0)
    task = Translate(("A", "B"), alphabet="abc", longest=5)
    network = task.network(TokenEncoder(3)).eval()
    config = Config(
        task="translate",
        model="seed-transformer",
        classes=task.classes,
        head="pooled",
        image_size=224,
        resize="pad",
        features=3,
        settings=task.kept(),
    )
    Bundle(config=config, weights=network.state_dict()).save(tmp_path / "m.ken")
    given = code_points(["ab", "cab"])
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "m.ken").network()(given), network(given))


def test_tensors_of_another_network_are_refused(bundle):
    fewer = {name: t for name, t in bundle.weights.items() if name != "head.linear.bias"}
    with pytest.raises(BundleError, match="do not fit"):
        replace(bundle, weights=fewer).network()
