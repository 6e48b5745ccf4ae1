"""Draws the pictures of docs/explanation/ with the product; run it with Python, without arguments.

The same bytes on the same machine and versions. The data are the 1797 digits of scikit-learn
(Alpaydin and Kaynak 1998, UCI Machine Learning Repository, CC BY 4.0) and drawn shapes.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from torch import Tensor, nn

import kenspeckle
from kenspeckle.data.preview import preview_sheet
from kenspeckle.data.strings import code_points
from kenspeckle.models.layers import average_pool, max_pool, sinusoidal_positions
from kenspeckle.models.sequence import Recurrent
from kenspeckle.trust.explain.attention import explain_by_attention
from kenspeckle.verbs.model import Model

FOLDER = Path(__file__).parent / "pictures"
# What is otherwise measured at the start of a run, fixed.
HERE = {"training.threads": 1, "training.precision": "float32", "training.channels_last": False}
BLUE, RED, GREY = "#2166ac", "#b2182b", "#777777"
STEPS, SEEDS, UNITS = 100, 5, 64  # of the recurrent networks
COLOURS = 64  # of a PNG's palette: half the bytes, and no difference to see


def main() -> None:
    """Write all eight; about a minute on one quiet core."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["KENSPECKLE_CACHE"] = str(Path(home) / "cache")
        convolution = trained(Path(home), digits(), {"model": "seed-cnn", "training.epochs": 8})
        save(filters_and_maps(convolution), "filters.png")
        save(poolings(), "pooling.png")
        save(gradients_over_time(), "gradients-over-time.png")
        save(positions(), "positions.png")
        settings = {"model": "transformer", "data.image_size": 32, "training.epochs": 10}
        save(attention(trained(Path(home), digits(), settings)), "attention.png")
        save(masks(), "masks.png")
        save_pixels(Image.fromarray(augmentations()), "augmentation.png")
        save(overfitted(Path(home)), "overfitting.png")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) uint8, white on black, and their labels."""
    found = load_digits()
    return (found.images * (255 / 16)).round().astype(np.uint8), found.target


def trained(home: Path, data: tuple[np.ndarray, np.ndarray], settings: dict[str, object]) -> Model:
    """A model that `ken train` would make of these images."""
    path = home / "images.npz"
    np.savez(path, x=data[0], y=data[1])
    return kenspeckle.train(path, settings=HERE | settings)


def enlarged(number: int, side: int) -> Tensor:
    """One digit as the network is given it, (1, 1, side, side) in [0, 1]."""
    picture = Image.fromarray(digits()[0][number]).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).float()[None, None] / 255


def filters_and_maps(model: Model) -> Figure:
    """The 32 first filters of seed-cnn, and what each finds in a digit."""
    backbone = model.network.backbone
    image = enlarged(3, 28)
    with torch.no_grad():
        maps = backbone.stages(image)[0][0]
    filters = backbone.conv1.weight.detach()[:, 0]
    figure = Figure(figsize=(9, 2.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 2, 2])
    show(left, image[0, 0], "a digit, 28 x 28")
    most = float(filters.abs().max())
    show(
        middle,
        tiled(filters, 0.0),
        "32 filters, 3 x 3: red negative, blue positive",
        "RdBu",
        -most,
        most,
    )
    peaks = maps.amax((1, 2), keepdim=True).clamp(min=1e-6)
    show(right, tiled(maps / peaks, 0.5), "where each finds its pattern, pooled to 13 x 13")
    return figure


def tiled(pictures: Tensor, edge: float) -> Tensor:
    """(32, h, w) -> one picture of four rows, with a border of one pixel in the value `edge`."""
    framed = nn.functional.pad(pictures, [1, 1, 1, 1], value=edge)
    rows = [torch.cat(list(row), dim=1) for row in framed.split(8)]
    return torch.cat(rows, dim=0)


def poolings() -> Figure:
    """A digit, and the same one pixel further right, under both poolings."""
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    image = enlarged(0, 28)
    moved = image.roll(1, dims=3)
    for (above, below), pool, name in zip(
        figure.subplots(2, 3).T,
        (lambda x: x, lambda x: max_pool(x, 4), lambda x: average_pool(x, 4)),
        ("28 x 28", "largest of each 4 x 4", "mean of each 4 x 4"),
        strict=True,
    ):
        one, other = pool(image)[0, 0], pool(moved)[0, 0]
        change = float((one - other).norm() / one.norm())
        print(f"{name}: one pixel to the right changes it by {change:.2f}")
        show(above, one, name)
        show(below, other, f"one pixel to the right: {100 * change:.0f} % changed")
    return figure


def gradients_over_time() -> Figure:
    """|dL/dx_t| over |dL/dx_100| of fresh recurrent networks, the median of five seeds."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, make, colour, style in (
        ("LSTM, forget bias 3 (here)", lambda: ours("lstm"), BLUE, "-"),
        ("GRU, update bias 3 (here)", lambda: ours("gru"), "#4dac26", "-"),
        ("simple RNN, orthogonal (here)", lambda: ours("rnn"), RED, "-"),
        ("LSTM as PyTorch starts it", lambda: nn.LSTM(8, UNITS, batch_first=True), BLUE, ":"),
        ("simple RNN as PyTorch starts it", lambda: nn.RNN(8, UNITS, batch_first=True), RED, ":"),
    ):
        ratios = torch.stack([along_time(make, seed) for seed in range(SEEDS)])
        median = ratios.median(0).values
        print(f"{name}: {median[0]:.2g} ({ratios[:, 0].min():.2g} to {ratios[:, 0].max():.2g})")
        axes.plot(range(1, STEPS + 1), median, style, color=colour, label=name)
    axes.axhline(1e-4, color=GREY, linewidth=0.8)
    axes.text(1, 7e-5, "below: called vanishing", va="top", color=GREY, fontsize=8)
    axes.set(yscale="log", ylim=(1e-22, 1e2), xlabel="step t")
    axes.set_ylabel("|dL/dx_t| / |dL/dx_100|")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def ours(cell: str) -> Recurrent:
    """One layer, one way, as the product starts it."""
    return Recurrent(cell, 8, UNITS, both_ways=False)  # type: ignore[arg-type]


def along_time(make: object, seed: int) -> Tensor:
    """(100,) gradient norms at each step of a loss on the last state, over that at the last."""
    torch.manual_seed(seed)
    network = make()  # type: ignore[operator]
    steps = torch.randn(16, STEPS, 8).double().requires_grad_()
    states = network.double()(steps)[0]
    (states[:, -1] @ torch.randn(UNITS, dtype=torch.float64)).sum().backward()
    norms = steps.grad.norm(dim=2)
    return (norms / norms[:, -1:]).median(0).values


def positions() -> Figure:
    """The sinusoidal table, and the founding text's one number for each position."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(sinusoidal_positions(128, 32).T, cmap="RdBu", aspect="auto", origin="lower")
    left.set(title="sin1d: 32 numbers a position", xlabel="position", ylabel="which number")
    place = torch.arange(512, dtype=torch.float64)
    table = sinusoidal_positions(512, 32)
    for k in (8, 12, 16):
        right.plot(place, table[:, k], color=BLUE, alpha=0.5, linewidth=0.8)
    angle = (place / 10000) ** 3
    text = angle.sin() + angle.cos()
    print(f"the founding text's formula, i = 3: range {text.max() - text.min():.2g}")
    right.plot(place, text, color=RED, label="the founding text's formula, i = 3")
    right.plot([], [], color=BLUE, label="three of the 32 numbers of sin1d")
    right.set(title="over 512 positions", xlabel="position", ylim=(-1.2, 1.9))
    right.legend(fontsize=8, loc="upper right")
    return figure


def attention(model: Model) -> Figure:
    """Roll-out over six digits: where a small Transformer looks."""
    print("transformer:", model.bundle.report["sentence"])
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for (above, below), number in zip(figure.subplots(2, 6).T, (0, 1, 2, 3, 4, 7), strict=True):
        image = enlarged(number, 32)
        heat = explain_by_attention(model.network, image, torch.zeros(1, dtype=torch.int64))
        show(above, image[0, 0], "")
        show(below, image[0, 0], "")
        below.imshow(heat[0], cmap="inferno", alpha=heat[0].sqrt().numpy())
    return figure


def masks() -> Figure:
    """What a decoder may look at: what was written before, and what was given."""
    given, wanted = ["4 May 2021", "12 December 1999"], "2021-05-04"
    inside = code_points(given) > 0
    causal = torch.ones(len(wanted) + 1, len(wanted) + 1).tril()
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    left.imshow(causal, cmap="Blues", vmin=0, vmax=1.6)
    left.set_xticks(range(11), ["<b>", *wanted])
    left.set_yticks(range(11), [*wanted, "<e>"])
    left.set(xlabel="written so far", ylabel="to be written next", title="causal mask")
    right.imshow(inside, cmap="Blues", vmin=0, vmax=1.6)
    right.set_xticks([])
    right.set_yticks(range(2), ["first string", "second string"])
    for row, text in enumerate(given):
        for column, letter in enumerate(text):
            right.text(column, row, letter, ha="center", va="center")
    right.set(xlabel="given", title="padding mask of a batch of two")
    return figure


def augmentations() -> np.ndarray:
    """What each augmentation makes of a digit and of two drawn shapes."""
    digit = digits()[0][5]
    pictures = [Image.fromarray(digit).resize((64, 64), Image.Resampling.BICUBIC).convert("RGB")]
    for sides, ground, ink in ((3, "#c9b458", "#1f4e79"), (5, "#3b6e57", "#f2d7b6")):
        picture = Image.new("RGB", (64, 64), ground)
        ImageDraw.Draw(picture).regular_polygon((28, 34, 20), sides, 10, fill=ink)
        pictures.append(picture)
    images = torch.from_numpy(np.stack([np.array(p) for p in pictures])).permute(0, 3, 1, 2)
    torch.manual_seed(9)  # a draw in which every change can be seen
    names = ["crop", "flip", "rotate", "shear", "colour", "blur", "erase", "noise"]
    return preview_sheet(images, names, cell_px=84)


def overfitted(home: Path) -> Figure:
    """Losses of the text's network on 240 digits, an eighth of them with a wrong label."""
    images, labels = digits()
    images, labels = images[:240], labels[:240].copy()
    labels[::8] = (labels[::8] + 3) % 10
    settings = {
        "model": "seed-cnn",
        "training.epochs": 40,
        "training.patience": 0,
        "training.schedule": "constant",
        "training.learning_rate": 1e-3,
        "training.weight_decay": 0.0,
        "training.augment": [],
    }
    report = trained(home, (images, labels), settings).bundle.report
    print(report["overfitting"]["words"], report["overfitting"]["cause"])
    epochs = [row["epoch"] for row in report["history"]]
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(epochs, [row["train_loss"] for row in report["history"]], color=BLUE)
    tuned = [row["tune_loss"] for row in report["history"]]
    axes.plot(epochs, tuned, color=RED)
    best = int(np.argmin(tuned))
    axes.axvline(epochs[best], color=GREY, linewidth=0.8)
    axes.text(epochs[best] + 0.3, max(tuned), "these weights are kept", color=GREY, fontsize=8)
    axes.text(epochs[-1], tuned[-1], "tuning ", color=RED, ha="right", va="bottom")
    axes.text(epochs[-1] - 6, 0.06, "training ", color=BLUE, ha="right")
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    return figure


def show(
    axes: Axes,
    picture: Tensor,
    title: str,
    colours: str = "gray",
    low: float | None = None,
    high: float | None = None,
) -> None:
    """A picture without axes."""
    axes.imshow(picture, cmap=colours, vmin=low, vmax=high)
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def save(figure: Figure, name: str) -> None:
    """A figure as a PNG with a small palette."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    save_pixels(Image.open(file), name)


def save_pixels(picture: Image.Image, name: str) -> None:
    """A PNG with a small palette, without a date or versions."""
    small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
