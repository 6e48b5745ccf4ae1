"""A network run over an image in tiles, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def in_tiles(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    overlap: int,
    multiple: int = 1,
) -> Tensor:
    """`function(image)`, computed window by window; equal to the whole within 1e-6.

    Each window is a tile with `overlap` pixels more on every side that is not the image's own edge;
    what those change is cut away. Equality holds where no output depends on input further away than
    `overlap`. An image that one tile covers is handed on whole.

    Args:
        function: (1, C, h, w) -> (1, K, h, w), for any h and w.
        image: (1, C, H, W).
        tile: pixels a side of what one window contributes, a positive multiple of `multiple`.
        overlap: 0 or more.
        multiple: of the pixels at which a window may begin or end, as a network that joins squares
            of this many pixels needs (2 for `PixelUnshuffle(2)`).

    Returns:
        (1, K, H, W).

    Raises:
        ValueError: several images, or numbers that do not go together.

    >>> import torch
    >>> image = torch.rand(1, 3, 50, 70)
    >>> blur = torch.nn.AvgPool2d(5, 1, 2, count_include_pad=False)
    >>> torch.allclose(in_tiles(blur, image, tile=16, overlap=2), blur(image), atol=1e-6)
    True
    """
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(f"one image (1, C, H, W) at a time; got {tuple(image.shape)}.")
    if multiple < 1 or tile < 1 or tile % multiple or overlap < 0:
        raise ValueError(
            f"a tile is a positive multiple of {multiple} and an overlap 0 or more; got {tile} "
            f"and {overlap}."
        )
    height, width = image.shape[2:]
    result: Tensor | None = None
    for top in range(0, height, tile):
        rows = _window(top, tile, overlap, multiple, height)
        for left in range(0, width, tile):
            columns = _window(left, tile, overlap, multiple, width)
            output = function(image[..., rows, columns])
            if result is None:
                result = output.new_empty(1, output.shape[1], height, width)
            bottom, right = min(top + tile, height), min(left + tile, width)
            result[..., top:bottom, left:right] = output[
                ...,
                top - rows.start : bottom - rows.start,
                left - columns.start : right - columns.start,
            ]
    assert result is not None
    return result


def _window(start: int, tile: int, overlap: int, multiple: int, side: int) -> slice:
    """The tile and its surroundings, begun and ended at a multiple or at the image's edge."""
    end = start + tile + overlap
    before = max(0, start - overlap)
    return slice(before - before % multiple, min(side, end + -end % multiple))
