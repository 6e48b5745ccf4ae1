"""A model file that is not whole, not ours or not expected is refused, in one line."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from kenspeckle.bundle.manifest import SCHEMA


@pytest.fixture
def image(small) -> Path:
    return small / "circle" / "circle0.png"


def altered(source: Path, target: Path, member: str, content: bytes) -> Path:
    """A copy with one member replaced and the manifest's hash made to agree."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = content
    manifest = json.loads(members["manifest.json"])
    if member != "manifest.json":
        manifest["members"][member] = hashlib.sha256(content).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return target


def with_config(source: Path, target: Path, **changes: object) -> Path:
    """A copy whose config says something else."""
    with zipfile.ZipFile(source) as archive:
        config = json.loads(archive.read("config.json"))
    return altered(source, target, "config.json", json.dumps({**config, **changes}).encode())


def test_a_copy_with_agreeing_hashes_answers_as_before(ken, image, small_model, tmp_path):
    copy = with_config(small_model, tmp_path / "copy.ken")
    first, second = (ken("predict", image, "-m", m).went_well() for m in (small_model, copy))
    assert first == second


@pytest.mark.parametrize("command", ["predict", "explain", "val", "report"])
def test_a_truncated_model_file(ken, image, small, small_model, tmp_path, command):
    cut = tmp_path / "cut.ken"
    cut.write_bytes(small_model.read_bytes()[:-1000])
    arguments = {
        "predict": (image, "-m", cut),
        "explain": (image, "-m", cut),
        "val": (small, "-m", cut),
        "report": (cut,),
    }[command]
    words = ken(command, *arguments, cwd=tmp_path).refused(4)
    assert str(cut) in words
    assert [p.name for p in tmp_path.iterdir()] == ["cut.ken"]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04\x95pickle", b"\0" * 5000])
def test_a_file_that_is_no_model(ken, image, tmp_path, content):
    other = tmp_path / "other.ken"
    other.write_bytes(content)
    assert "not a Kenspeckle model file" in ken("predict", image, "-m", other).refused(4)


def test_a_zip_of_something_else(ken, image, tmp_path):
    other = tmp_path / "other.ken"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    assert "not a Kenspeckle model file" in ken("predict", image, "-m", other).refused(4)


def test_no_model_file(ken, image):
    assert "no model file none.ken" in ken("predict", image, "-m", "none.ken").refused(4)


def test_a_folder_for_a_model_file(ken, image, tmp_path):
    ken("predict", image, "-m", tmp_path).refused(4)


def test_a_model_file_of_a_later_format_says_to_upgrade(ken, image, small_model, tmp_path):
    with zipfile.ZipFile(small_model) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    later = json.dumps({**manifest, "schema": SCHEMA + 1, "kenspeckle": "9.0"}).encode()
    model = altered(small_model, tmp_path / "later.ken", "manifest.json", later)
    words = ken("predict", image, "-m", model).refused(4)
    assert f"written by Kenspeckle 9.0 in format {SCHEMA + 1}" in words
    assert "pip install --upgrade kenspeckle" in words


def test_a_member_changed_without_its_hash_is_noticed(ken, image, small_model, tmp_path):
    content = bytearray(small_model.read_bytes())
    with zipfile.ZipFile(small_model) as archive:
        info = archive.getinfo("model.safetensors")
    content[info.header_offset + info.file_size // 2] ^= 1
    (tmp_path / "bent.ken").write_bytes(bytes(content))
    words = ken("predict", image, "-m", tmp_path / "bent.ken").refused(4)
    assert "damaged" in words


def test_the_expected_hash_lets_the_model_in(ken, image, small_model):
    said = hashlib.sha256(small_model.read_bytes()).hexdigest()
    ken("predict", image, "-m", small_model, "--expect-sha256", said.upper()).went_well()


@pytest.mark.parametrize("command", ["predict", "explain", "val", "report"])
def test_another_hash_than_expected_keeps_it_out(ken, image, small, small_model, command):
    first = () if command == "report" else ("--model",)
    source = {"val": (small,), "report": ()}.get(command, (image,))
    words = ken(command, *source, *first, small_model, "--expect-sha256", "0" * 64).refused(4)
    assert hashlib.sha256(small_model.read_bytes()).hexdigest() in words


def test_a_network_that_does_not_exist(ken, image, small_model, tmp_path):
    model = with_config(small_model, tmp_path / "m.ken", model="resnet-from-elsewhere")
    said = ken("predict", image, "-m", model)
    assert "resnet-from-elsewhere" in said.refused(said.code)
    assert said.code in (2, 4)


def test_more_classes_than_the_weights_have(ken, image, small_model, tmp_path):
    model = with_config(small_model, tmp_path / "m.ken", classes=["a", "b", "c"])
    ken("predict", image, "-m", model).refused(4)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": []},
        {"classes": ["a", "a"]},
        {"classes": "ab"},
        {"image_size": 0},
        {"image_size": "28"},
        {"image_size": 10**9},
        {"nonsense": 1},
    ],
)
def test_an_impossible_config(ken, image, small_model, tmp_path, changes):
    model = with_config(small_model, tmp_path / "m.ken", **changes)
    ken("predict", image, "-m", model).refused(4)


def test_another_image_size_than_the_weights_were_made_for(ken, image, small_model, tmp_path):
    model = with_config(small_model, tmp_path / "m.ken", image_size=64)
    ken("predict", image, "-m", model).refused(4)


UNCHECKED = [
    {"classes": [1, 2]},
    {"resize": "fold"},
    {"settings": {"temperature": 0}},
    {"settings": {"temperature": "hot"}},
    {"settings": {"nonsense": 1}},
    {"settings": 3},
    {"threshold": "far"},
    {"precision": "float8"},
    {"paths": []},
    {"head": "features"},
]


@pytest.mark.parametrize("changes", UNCHECKED, ids=str)
def test_a_config_that_contradicts_the_rest(ken, image, small_model, tmp_path, changes):
    model = with_config(small_model, tmp_path / "m.ken", **changes)
    ken("predict", image, "-m", model).refused(4)
