"""A picture that was cropped, turned or mirrored is found, and others are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from kenspeckle.data import alike
from kenspeckle.data.alignment import SIDE, align, describe
from kenspeckle.data.alike import Alike, alike_groups, alike_pairs
from kenspeckle.data.duplicates import duplicate_groups
from kenspeckle.data.fit import Fit, resized, square

FIT = Fit(224)
MIRROR, QUARTER, HALF = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
)


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    """Five photographs of 200 x 200 that share no pixel: parts of two."""
    china, flower = (Image.fromarray(image) for image in load_sample_images().images)
    corners = [
        (china, 0, 0),
        (china, 220, 0),
        (china, 0, 220),
        (china, 220, 220),
        (flower, 180, 90),
    ]
    return [image.crop((x, y, x + 200, y + 200)) for image, x, y in corners]


def cropped(image: Image.Image, share: float, place: str = "even") -> Image.Image:
    width, height = (round(side * (1 - share)) for side in image.size)
    right, down = image.width - width, image.height - height
    x = {"w": 0, "e": right}.get(place[-1], right // 2) if place != "even" else right // 2
    y = {"n": 0, "s": down}.get(place[0], down // 2) if place != "even" else down // 2
    return image.crop((x, y, x + width, y + height))


def saved(image: Image.Image, quality: int = 60) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def seen(images: list[Image.Image], fit: Fit = FIT) -> torch.Tensor:
    """(N, 3, size, size) as the network sees them."""
    fitted = [square(np.asarray(resized(image, fit, (0, 0, *image.size))), fit) for image in images]
    return torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2)


def pairs_of(images: list[Image.Image], fit: Fit = FIT) -> list[Alike]:
    """Pairs by pixels alone: the features say that all are alike."""
    width, height = np.array([image.size for image in images]).T
    return alike_pairs(np.ones((len(images), 1), np.float32), seen(images, fit), width, height)


def rows(pairs: list[Alike]) -> list[tuple[int, int]]:
    return [(pair.first, pair.second) for pair in pairs]


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))[None]


def test_different_photographs_are_not_claimed(photos):
    assert pairs_of(photos) == []


@pytest.mark.parametrize("place", ["even", "nw", "ne", "sw", "se"])
@pytest.mark.parametrize("number", range(5))
def test_a_copy_saved_again_and_cropped_by_5_percent_is_found(photos, number, place):
    copy = saved(cropped(photos[number], 0.05, place))
    assert rows(pairs_of([*photos, copy])) == [(number, 5)]


@pytest.mark.parametrize("change", [
    lambda image: image.transpose(MIRROR),
    lambda image: image.transpose(QUARTER),
    lambda image: cropped(image, 0.05, "se").transpose(HALF),
    lambda image: cropped(image, 0.05, "nw").transpose(QUARTER).transpose(MIRROR),
    lambda image: cropped(image, 0.05, "ne").resize((95, 95)),
    lambda image: image.resize((200, 150)),
    lambda image: cropped(image, 0.05).point(lambda level: 30 + level // 2),
    lambda image: cropped(image, 0.05).convert("L").convert("RGB"),
])  # fmt: skip
def test_a_copy_changed_in_other_ways_is_found(photos, change):
    assert rows(pairs_of([*photos, saved(change(photos[0]))])) == [(0, 5)]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2])
def test_the_overlap_is_the_share_of_the_picture_that_was_kept(photos, share):
    (pair,) = pairs_of([photos[4], saved(cropped(photos[4], share, "sw"))])
    assert pair.overlap == pytest.approx((1 - share) ** 2, abs=0.03)


def shape(sides: int, x: int, y: int, size: int, ground: int, ink: int) -> Image.Image:
    picture = Image.new("RGB", (96, 96), (ground,) * 3)
    ImageDraw.Draw(picture).regular_polygon((x, y, size), sides, fill=(ink,) * 3)
    return picture


@pytest.mark.parametrize("sides", [60, 4, 3])
def test_one_shape_drawn_at_different_places_is_no_copy(sides):
    drawn = [
        shape(sides, 32, 30, 18, 20, 200),
        shape(sides, 58, 48, 18, 60, 250),
        shape(sides, 40, 64, 14, 230, 90),
        shape(sides, 62, 62, 22, 150, 10),
    ]
    assert pairs_of(drawn) == []


@pytest.mark.parametrize("sides", [60, 4, 3])
def test_one_shape_on_two_grounds_of_noise_is_no_copy(sides):
    random = np.random.default_rng(0)
    first = np.asarray(shape(sides, 44, 52, 20, 40, 200)).astype(int)
    noisy = [first + random.integers(-20, 20, first.shape) for _ in range(2)]
    assert pairs_of([Image.fromarray(image.astype(np.uint8)) for image in noisy]) == []
    once = Image.fromarray(noisy[0].astype(np.uint8))
    assert rows(pairs_of([once, saved(once, 90)])) == [(0, 1)]


def test_a_drawn_shape_saved_again_is_a_copy():
    first = shape(60, 40, 52, 20, 20, 200)
    assert rows(pairs_of([first, saved(first)])) == [(0, 1)]


def test_a_picture_with_little_detail_must_be_covered(photos, monkeypatch):
    pictures = [photos[4], saved(cropped(photos[4], 0.2, "sw"))]
    assert rows(pairs_of(pictures)) == [(0, 1)]
    monkeypatch.setattr(alike, "MIN_SPREAD", 1.0)  # now it has too little
    assert pairs_of(pictures) == []
    assert rows(pairs_of([photos[4], saved(cropped(photos[4], 0.05, "sw"))])) == [(0, 1)]


@pytest.mark.parametrize("turn", range(8))
def test_the_turn_brings_the_second_to_the_first(photos, turn):
    first = np.asarray(photos[0])
    second = np.rot90(first, -(turn % 4))
    second = second[:, ::-1] if turn >= 4 else second
    (pair,) = pairs_of([photos[0], saved(Image.fromarray(second.copy()))])
    assert pair.turn == turn


def test_which_is_the_first_does_not_matter(photos):
    copy = saved(cropped(photos[0], 0.05, "ne"))
    (one,), (other,) = pairs_of([photos[0], copy]), pairs_of([copy, photos[0]])
    assert one.agreement == pytest.approx(other.agreement, abs=0.02)
    assert one.overlap == pytest.approx(other.overlap, abs=0.02)


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("size", [(200, 120), (120, 200)])
def test_pictures_that_are_not_square_are_found_however_they_were_fitted(photos, size, mode):
    shapes = [image.crop((0, 0, *size)) for image in photos]
    fit = Fit(224, mode)
    assert pairs_of(shapes, fit) == []
    assert rows(pairs_of([*shapes, saved(cropped(shapes[4], 0.05, "se"))], fit)) == [(4, 5)]


def test_padding_does_not_make_two_pictures_alike(photos):
    strips = [image.crop((0, 0, 200, 30)) for image in photos]
    assert pairs_of(strips) == []


def test_a_shared_part_is_not_a_copy(photos):
    patched = photos[1].copy()
    patched.paste(photos[0].crop((0, 0, 100, 200)), (0, 0))
    assert pairs_of([photos[0], photos[1], patched]) == []


def test_a_detail_is_not_the_picture(photos):
    assert pairs_of([photos[0], cropped(photos[0], 0.5)]) == []


def test_small_pictures_take_no_part(photos):
    tiny = [photos[0].resize((63, 63)), photos[0].resize((63, 63))]
    assert pairs_of(tiny) == []


def test_a_network_that_sees_little_cannot_confirm(photos):
    assert pairs_of([photos[0], photos[0]], Fit(SIDE - 1)) == []


def test_blank_pictures_are_not_copies_of_each_other():
    assert pairs_of([Image.new("RGB", (100, 100), (200, level, 9)) for level in (0, 50, 99)]) == []


def test_two_renderings_of_noise_are_not_alike():
    noise = np.random.default_rng(0).integers(0, 256, (2, 100, 100, 3), dtype=np.uint8)
    assert pairs_of([Image.fromarray(image) for image in noise]) == []


def test_features_that_are_far_apart_propose_nothing(photos):
    vectors = np.eye(2, dtype=np.float32)
    sides = np.array([200, 200])
    assert alike_pairs(vectors, seen([photos[0], photos[0]]), sides, sides) == []


def test_no_images_and_one_image_have_no_pairs(photos):
    none = np.empty(0, dtype=np.int64)
    assert alike_pairs(np.empty((0, 4), np.float32), torch.empty(0, 3, 224, 224), none, none) == []
    assert pairs_of(photos[:1]) == []


def test_the_neighbours_are_those_that_comparing_all_gives(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(alike, "_BLOCK", 100)  # several blocks
    cosines = vectors @ vectors.T - 2 * np.eye(40)
    slow = {
        (min(i, j), max(i, j))
        for i in range(40)
        for j in np.argsort(-cosines[i])[: alike.NEIGHBOURS].tolist()
        if cosines[i, j] >= alike.MIN_COSINE
    }
    assert set(map(tuple, alike._near(vectors).tolist())) == slow


def test_an_agreement_lies_between_minus_one_and_one(photos):
    greys = np.concatenate([small(image) for image in photos])
    first, second = np.divmod(np.arange(25), 5)
    windows = describe(greys)
    laid = align(greys[first], greys[second], windows[first], windows[second])
    assert (np.abs(laid.agreement) <= 1 + 1e-5).all()
    assert (laid.agreement[first == second] > 0.999).all()


def test_groups_of_pairs_can_be_joined_with_copies():
    pairs = [Alike(0, 3, 1.0, 1.0, 1.0, 0), Alike(3, 4, 1.0, 1.0, 1.0, 0)]
    assert duplicate_groups([b"a", b"b", b"b", b"c", b"d"], alike_groups(pairs)).tolist() == [
        0,
        1,
        1,
        0,
        0,
    ]
    assert alike_groups([]) == []
