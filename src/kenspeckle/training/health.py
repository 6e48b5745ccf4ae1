"""Whether the gradient reaches every layer at a useful size: one batch, one verdict, one remedy."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kenspeckle.data.batch import Batch
from kenspeckle.errors import UsageError
from kenspeckle.files import writing
from kenspeckle.recipe import Training
from kenspeckle.tasks.task import Task
from kenspeckle.training.optimisers import default_learning_rate, make_optimiser

Verdict = Literal["healthy", "vanishing", "exploding", "dead", "saturated"]

VANISHED = 1e-4  # of the last layer's (or last time's) gradient; healthy networks: 0.3 to 3
EXPLODED = 1e4  # first layer over last layer
TOO_STEEP = 1e3  # gradient norm over weight norm; at a usual start it is below 10
DEAD = 0.9  # deep healthy ReLU networks show up to a half: their units agree on all images
SATURATED = 0.8  # share of outputs within 1 % of an end of the range

_RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
_SQUASHING = (nn.Sigmoid, nn.Tanh)


@dataclass
class Layer:
    """One layer with weights, and what the activation after it did.

    Args:
        gradient_norm, weight_norm: Euclidean, of all its trainable parameters together.
        update_ratio: |change of the weights| / |weights| in one step of the optimiser.
        dead_share: of ReLU units that are zero for the whole batch; None without ReLU.
        saturated_share: of sigmoid or tanh outputs near an end; None without them.
        first_over_last_time: of a recurrent layer, |dL/dx_1| / |dL/dx_T|, the median over the
            batch; T is each sequence's last step with a gradient, so that padding does not count;
            both ways in one module, the smallest over the largest along time.
    """

    name: str
    kind: str
    gradient_norm: float = 0.0
    weight_norm: float = 0.0
    update_ratio: float = 0.0
    dead_share: float | None = None
    saturated_share: float | None = None
    first_over_last_time: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Every layer in forward order, and what it comes to.

    Args:
        first_over_last: gradient norm of the first layer over that of the last.
        layers_named: the layers that the verdict is about.
    """

    layers: Sequence[Layer]
    loss: float
    first_over_last: float
    verdict: Verdict
    layers_named: Sequence[str] = ()
    remedy: str = ""

    def __str__(self) -> str:
        if self.verdict == "healthy":
            return f"healthy: first over last gradient {self.first_over_last:.2g}"
        shown = ", ".join(self.layers_named[:5])
        more = len(self.layers_named) - 5
        return f"{self.verdict}: {shown}{f' and {more} more' if more > 0 else ''}. {self.remedy}"


def diagnose(
    network: nn.Module, task: Task[Any], batch: Batch, recipe: Training | None = None
) -> Diagnosis:
    """Look at the gradients of one update on a copy of the network.

    Only layers that are modules with weights are seen, and activations that are modules.

    Args:
        batch: 16 images or more; with fewer, units look dead by chance.
        recipe: its optimiser and learning rate give the update ratio; None is the default one.

    Raises:
        UsageError: no layer has trainable weights.

    Source: Glorot and Bengio 2010 (layers); Pascanu, Mikolov and Bengio 2013 (time).
    """
    recipe = recipe or Training()
    copied = copy.deepcopy(network)
    torch.default_generator.manual_seed(recipe.seed)  # dropout alike in every diagnosis
    watch = _Watch(copied)
    if not any(p.requires_grad for p in copied.parameters()):
        raise UsageError("The network has no layer with trainable weights to diagnose.")
    loss = task.loss(copied, batch, next(iter(task.players(copied))))
    loss.backward()
    watch.finish(recipe)
    return _judge(watch.layers, loss.item())


@dataclass
class _Watch:
    """Hooks that note the layers in the order in which they are used."""

    network: nn.Module
    layers: list[Layer] = field(default_factory=list)
    modules: list[nn.Module] = field(default_factory=list)
    inputs: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, module in self.network.named_modules():
            if any(p.ndim > 1 and p.requires_grad for p in module.parameters(recurse=False)):
                module.register_forward_hook(self._noting(name))
            if isinstance(module, _RECURRENT):
                module.register_forward_pre_hook(self._keep_input)
            if isinstance(module, (nn.ReLU, *_SQUASHING)):
                module.register_forward_hook(self._activation)

    def _noting(self, name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if module not in self.modules:
                self.modules.append(module)
                self.layers.append(Layer(name or type(module).__name__, type(module).__name__))

        return note

    def _keep_input(self, module: nn.Module, inputs: Any) -> Any:
        first, *others = inputs
        if not isinstance(first, Tensor):  # a packed sequence has no time axis to look along
            return None
        # A view of its own: the layer of the other way may read the same tensor.
        first = first.view_as(first) if first.requires_grad else first.detach().requires_grad_()
        first.retain_grad()
        self.inputs[id(module)] = first
        return (first, *others)

    def _activation(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not self.layers:
            return
        layer, values = self.layers[-1], output.detach()
        if isinstance(module, nn.ReLU):
            units = values.flatten(2).amax(2) if values.ndim > 2 else values
            layer.dead_share = (units.amax(0) <= 0).float().mean().item()
        else:
            low = 0.0 if isinstance(module, nn.Sigmoid) else -1.0
            near = 0.01 * (1 - low)
            layer.saturated_share = (
                ((values < low + near) | (values > 1 - near)).float().mean().item()
            )

    def finish(self, recipe: Training) -> None:
        """Read the gradients, then take one step of the optimiser and read the change."""
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        if not parameters:
            return
        before = {p: p.detach().clone() for p in parameters}
        # L-BFGS needs a closure; its first step is along the gradient, as sgd's.
        name = "sgd" if recipe.optimiser == "lbfgs" else recipe.optimiser
        rate = recipe.learning_rate or default_learning_rate(name)
        make_optimiser(name, parameters, rate).step()
        for layer, module in zip(self.layers, self.modules, strict=True):
            own = [p for p in module.parameters(recurse=False) if p in before]
            layer.gradient_norm = _norm([p.grad for p in own if p.grad is not None])
            layer.weight_norm = _norm([before[p] for p in own])
            change = _norm([p.detach() - before[p] for p in own])
            layer.update_ratio = change / layer.weight_norm if layer.weight_norm else 0.0
            if id(module) in self.inputs:
                layer.first_over_last_time = _along_time(module, self.inputs[id(module)].grad)


def _along_time(module: nn.Module, gradient: Tensor | None) -> float | None:
    """How the gradient at the first time compares to that at the last; time is the axis T.

    A layer that reads its sequences from the end gets them turned round within their lengths: its
    first step is then the sequence's last one, and what pads it still comes after all.
    """
    if gradient is None or gradient.ndim != 3:
        return None
    gradient = gradient if module.batch_first else gradient.transpose(0, 1)  # (B, T, D)
    ratios = [_first_over_last(norms, module) for norms in gradient.double().norm(dim=2)]
    return statistics.median(ratios)


def _first_over_last(norms: Tensor, module: nn.Module) -> float:
    """The same of one sequence's gradient norms, (T,); after its end they are zero."""
    inside = norms[: int(norms.nonzero().max()) + 1] if norms.any() else norms
    if module.bidirectional:
        return _ratio(inside.min().item(), inside.max().item())
    return _ratio(inside[0].item(), inside[-1].item())


def _judge(layers: list[Layer], loss: float) -> Diagnosis:
    if not layers:
        raise UsageError("The network has no layer with trainable weights to diagnose.")
    first, last = layers[0], layers[-1]
    ratio = _ratio(first.gradient_norm, last.gradient_norm)
    for verdict, named, remedy in _findings(layers, loss, last):
        if named:
            return Diagnosis(layers, loss, ratio, verdict, named, remedy)
    return Diagnosis(layers, loss, ratio, "healthy")


def _findings(
    layers: list[Layer], loss: float, last: Layer
) -> list[tuple[Verdict, list[str], str]]:
    """Causes before effects: a dead or saturated layer also makes gradients vanish."""
    exploding = [layer.name for layer in layers if _explodes(layer, last)]
    if not math.isfinite(loss):
        exploding = [layer.name for layer in layers]
    dead = [layer.name for layer in layers if (layer.dead_share or 0) > DEAD]
    saturated = [layer.name for layer in layers if (layer.saturated_share or 0) > SATURATED]
    forgetful = [layer.name for layer in layers if _forgets(layer)]
    # Blocks that start as the identity have zero gradients inside; the first layer still has one.
    faint = [x.name for x in layers if _is_faint(x, last)] if _is_faint(layers[0], last) else []
    return [
        ("exploding", exploding, "Clip the gradient (clip: 1.0) or start with smaller weights."),
        ("dead", dead, "Lower the learning rate, and start again: dead units do not come back."),
        ("saturated", saturated, "Scale the inputs and start with smaller weights."),
        ("vanishing", forgetful, "Use an LSTM with a forget-gate bias of 3, or shorter sequences."),
        ("vanishing", faint, "Use ReLU with He initialisation, or residual blocks with norms."),
    ]


def _explodes(layer: Layer, last: Layer) -> bool:
    too_steep = _ratio(layer.gradient_norm, layer.weight_norm) > TOO_STEEP
    backwards = _ratio(layer.gradient_norm, last.gradient_norm) > EXPLODED
    in_time = (layer.first_over_last_time or 0.0) > EXPLODED
    at_last = last.gradient_norm > 0
    return not math.isfinite(layer.gradient_norm) or too_steep or (backwards and at_last) or in_time


def _is_faint(layer: Layer, last: Layer) -> bool:
    return layer.gradient_norm == 0 or layer.gradient_norm < VANISHED * last.gradient_norm


def _forgets(layer: Layer) -> bool:
    ratio = layer.first_over_last_time
    return ratio is not None and ratio < VANISHED


def _norm(tensors: list[Tensor]) -> float:
    """In double precision: 5.7e-19 squared is nothing in float32."""
    return math.sqrt(sum(tensor.detach().double().square().sum().item() for tensor in tensors))


def _ratio(top: float, bottom: float) -> float:
    if bottom == 0:
        return math.inf if top else 1.0
    return top / bottom


def draw(diagnosis: Diagnosis, path: Path) -> None:
    """A bar a layer, forward order from the left, log10 of the gradient norm; verdict as title.

    Raises:
        StorageError: the picture cannot be written.
    """
    from matplotlib.figure import Figure

    layers = diagnosis.layers
    heights = [layer.gradient_norm for layer in layers]
    floor = min([h for h in heights if 0 < h < math.inf], default=1.0) / 10
    top = 10 * max([h for h in heights if math.isfinite(h)], default=1.0)
    shown = [max(h, floor) if math.isfinite(h) else top for h in heights]
    figure = Figure(figsize=(max(5.0, 0.3 * len(layers)), 4), layout="constrained")
    axes = figure.subplots()
    named = set(diagnosis.layers_named)
    colours = ["tab:red" if layer.name in named else "tab:blue" for layer in layers]
    axes.bar(range(len(layers)), [h - floor for h in shown], bottom=floor, color=colours)
    axes.set_yscale("log")
    axes.set_xticks(range(len(layers)), [layer.name for layer in layers], rotation=90, fontsize=7)
    axes.set_ylabel("gradient norm")
    axes.set_title(diagnosis.verdict)
    with writing(path) as file:
        figure.savefig(file, format=path.suffix.lstrip(".") or "png", dpi=120)
