"""Copies are found and look-alikes are not."""

from __future__ import annotations

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kenspeckle.data.duplicates import (
    MAX_BITS,
    duplicate_groups,
    exact_groups,
    joined,
    near_groups,
    near_pairs,
    thumbnail,
)
from kenspeckle.data.scan import scan

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def picture(seed: int, side: int = 160) -> Image.Image:
    """Smooth blobs of colour, as different from seed to seed as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def measure(images):
    """Perceptual hashes, thumbnails and longer sides, as the reader of images gives them."""
    bits = [imagehash.phash(image).hash.reshape(-1) for image in images]
    hashes = np.array([np.packbits(b).view(">u8")[0] for b in bits], dtype=np.uint64)
    thumbs = np.stack([thumbnail(np.asarray(image)) for image in images])
    return hashes, thumbs, np.array([max(image.size) for image in images])


def test_a_picture_saved_again_or_resized_is_found_and_others_are_not():
    originals = [picture(seed) for seed in range(30)]
    copies = [as_jpeg(originals[3], 60), originals[7].resize((80, 80))]
    assert near_groups(*measure(originals + copies)) == [[3, 30], [7, 31]]


def test_a_pair_carries_its_evidence():
    (pair,) = near_pairs(*measure([picture(1), as_jpeg(picture(1), 70)]))
    assert (pair.first, pair.second) == (0, 1)
    assert pair.bits <= MAX_BITS
    assert pair.correlation > 0.99
    assert pair.difference < 5


def test_tiny_pictures_are_matched_by_bytes_alone():
    tiny = picture(1).resize((28, 28))
    assert near_groups(*measure([tiny, as_jpeg(tiny, 90)])) == []


def test_blank_pictures_are_not_copies_of_each_other():
    blanks = [Image.new("RGB", (100, 100), (200, 200, level)) for level in (0, 60, 200)]
    assert near_groups(*measure(blanks)) == []


def test_hashes_that_were_not_computed_match_nothing():
    assert near_groups(np.zeros(3, np.uint64), None, np.full(3, 100)) == []


def test_an_equal_hash_is_not_enough_when_the_pixels_differ():
    hashes, thumbs, sizes = measure([picture(1), picture(2)])
    hashes[:] = hashes[0]
    assert near_pairs(hashes, thumbs, sizes) == []
    assert near_groups(hashes, None, sizes) == [[0, 1]]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_search_finds_what_comparing_all_pairs_finds(hashes, seed):
    random = np.random.default_rng(seed)
    flips = [sum(1 << int(b) for b in random.choice(64, random.integers(0, 13), replace=False))
             for _ in hashes]  # fmt: skip
    every = np.array(hashes + [h ^ f for h, f in zip(hashes, flips, strict=True)], dtype=np.uint64)
    thumbs = np.broadcast_to(thumbnail(np.asarray(picture(0))), (len(every), 32, 32)).copy()
    found = {(p.first, p.second) for p in near_pairs(every, thumbs, np.full(len(every), 100))}
    values = every.tolist()
    slow = {
        (i, j)
        for j in range(len(values))
        for i in range(j)
        if values[i] and values[j] and (values[i] ^ values[j]).bit_count() <= MAX_BITS
    }
    assert found == slow


def test_groups_join_copies_near_copies_and_what_the_owner_joined():
    keys = [b"a", b"b", b"a", b"c", b"d", b"e"]
    assert exact_groups(keys) == [[0, 2]]
    users = [None, None, "anna", "anna", None, None]
    assert duplicate_groups(keys, [[4, 5]], users).tolist() == [0, 1, 0, 0, 2, 2]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_joined_rows_are_the_connected_parts(pairs):
    together = [{i} for i in range(10)]
    for a, b in pairs:
        union = together[a] | together[b]
        for row in union:
            together[row] = union
    groups = joined(10, pairs)
    assert [set(np.flatnonzero(groups == groups[i]).tolist()) for i in range(10)] == together


@pytest.mark.shared
@pytest.mark.slow
def test_different_real_photographs_are_not_taken_for_copies():
    if not SHARED.exists():
        pytest.skip(f"the real image sets are not at {SHARED}")
    photos = scan(SHARED / "kodak-odd.zip", labelled=False).samples
    opened = [Image.open(io.BytesIO(s.source.read())).convert("RGB") for s in photos]
    copies = [as_jpeg(image, 60) for image in opened]
    assert near_groups(*measure(opened)) == []
    assert near_groups(*measure(opened + copies)) == [[i, i + 12] for i in range(12)]
