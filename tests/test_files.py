"""Files are written whole or not at all, and names stay in their folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenspeckle.errors import DataError, StorageError
from kenspeckle.files import inside, sha256, write_bytes, write_text, writing


def test_what_is_written_is_read(tmp_path):
    write_bytes(tmp_path / "deep" / "er" / "f.bin", b"\0\xff")
    assert (tmp_path / "deep" / "er" / "f.bin").read_bytes() == b"\0\xff"


def test_text_keeps_names_that_are_no_utf8(tmp_path):
    write_text(tmp_path / "f.txt", "caf\udce9 é")
    assert (tmp_path / "f.txt").read_bytes() == b"caf\xe9 \xc3\xa9"


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    write_bytes(tmp_path / "f", b"old")

    def interrupted() -> None:
        with writing(tmp_path / "f") as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_nothing_is_seen_before_the_block_ends(tmp_path):
    with writing(tmp_path / "f") as file:
        file.write(b"x")
        assert not (tmp_path / "f").exists()
    assert (tmp_path / "f").exists()


@pytest.mark.skipif(os.name == "nt", reason="permission bits are POSIX")
def test_a_file_has_the_permissions_that_the_user_gives_new_files(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/below"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_a_folder_in_the_way_stays(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(StorageError):
        write_bytes(tmp_path / "f", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_long_name_is_no_trouble(tmp_path):
    write_bytes(tmp_path / ("x" * 255), b"1")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"1"


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-4, appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "f") == known == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\x", "c:/x", "a\0b", ".."]
)
def test_names_that_climb_out_are_refused(name):
    with pytest.raises(DataError, match="row 3"):
        inside(Path("photos"), name, "row 3")


@given(st.lists(st.text(st.characters(exclude_characters="\0:\\"), min_size=1), min_size=1))
def test_a_name_that_is_let_in_lies_below_the_root(parts):
    root = Path("/photos")
    try:
        found = inside(root, "/".join(parts), "row 3")
    except DataError:
        return
    assert Path(os.path.normpath(found)).is_relative_to(root)
