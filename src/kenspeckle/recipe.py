"""The frozen choices that decide a run, read from and written to YAML."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from kenspeckle.errors import UsageError, nearest
from kenspeckle.files import write_text


@dataclass(frozen=True, kw_only=True)
class Data:
    """How images become pixels, and which of them are kept for measuring."""

    image_size: int | None = (
        None  # pixels a side; None is the model's own, or less for small images
    )
    image_width: int | None = None  # pixels across, where image_size is from top to bottom only
    resize: Literal["pad", "stretch", "crop"] = "pad"  # pad keeps the whole image and its shape
    looks: Literal["changes", "frames"] = "changes"  # of a clip: what moves, or what is there
    test_share: float = 0.2  # held out for the score, when the folder does not say
    tune_share: float = 0.15  # of the rest, for stopping and temperature, when a loop trains
    folds: int = 5  # cross-validation of feature heads
    cross_validate_below: int = 500  # images; under this a held-out fifth is too few to measure on
    seed: int = 0  # of the split


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained. Everything measured at run time ends up in here, resolved."""

    epochs: int = 30  # early stopping usually ends sooner
    steps: int | None = None  # stop after exactly this many updates; the repeatable way to end
    batch_size: int | Literal["full"] = 64  # small batches reach an accuracy sooner (SPEED)
    optimiser: Literal[
        "sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "adam-gan", "lbfgs"
    ] = "adamw"
    learning_rate: float | None = None  # None is the optimiser's own (training/optimisers.py)
    weight_decay: float = 0.01  # decoupled for every optimiser (Loshchilov and Hutter 2019)
    l1: float = 0.0  # literal penalty on the loss: l1 * sum |w|
    l2: float = 0.0  # literal penalty on the loss: l2 * sum w^2; with Adam not weight decay
    schedule: Literal["constant", "step", "cosine", "one-cycle", "plateau"] = "one-cycle"
    clip: float | None = None  # largest gradient norm; None does not clip
    averaging: float = 0.0  # decay of the running average of weights; 0 is off
    smoothing: float = 0.0  # label smoothing of the cross-entropy, in [0, 1)
    augment: tuple[str, ...] | None = None  # transforms by name; None: those that keep the labels
    mixup: float = 0.0  # alpha of mixup (Zhang et al. 2018); 0 is off
    cutmix: float = 0.0  # alpha of cutmix (Yun et al. 2019); 0 is off
    patience: int = 10  # epochs without a better tuning loss before stopping; 0 never stops
    budget_seconds: float | None = None  # wall-clock limit; ends with a usable model
    seed: int = 0
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] | None = None  # None is measured at the start
    channels_last: bool | None = None  # None is measured at the start
    threads: int | None = None  # None is measured at the start


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run; saved as `args.yaml` beside its results."""

    task: str = "classify"
    model: str | None = None  # None: the packaged network for images, gru for sequences
    weights: str | None = None  # a safetensors file; None is the model's own packaged weights
    freeze: bool | None = None  # None: a pretrained backbone is frozen, a fresh one is trained
    finetune: bool | None = None  # of a frozen network's last stages; None: where a budget is given
    head: str = "auto"  # of frozen features; auto chooses by inner cross-validation
    loss: Literal["auto", "cross-entropy", "balanced", "focal"] = "auto"  # tasks/losses.py
    pool: Literal["avg", "max", "avgmax"] = "avg"  # how a loop's head reads the waist
    positions: Literal["sin2d", "sin1d", "learned", "none"] = "sin2d"  # of a Transformer's tokens
    degradations: tuple[str, ...] = ("noise", "jpeg")  # what `restore` learns to mend
    dropout: float = 0.0  # before the last layer, when a loop trains
    false_accepts: float = 0.01  # of match: how often a stranger may be taken for somebody
    unknown_share: float = 0.05  # share of the user's own images refused, out of fold
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], said_in: str = "the recipe") -> Self:
        """A recipe from plain nested values.

        Raises:
            UsageError: unknown keys or values of the wrong kind, all reported together.
        """
        faults: list[str] = []
        recipe = _build(cls, values, "", faults)
        if faults:
            raise UsageError(f"{said_in} has {_count(len(faults))}: " + "; ".join(faults) + ".")
        return typing.cast(Self, recipe)

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a recipe from a YAML file."""
        try:
            values = yaml.safe_load(path.read_text("utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())  # the parser's own words come on four lines
            raise UsageError(f"{path} cannot be read as a YAML recipe: {reason}.") from None
        if not isinstance(values, dict):
            raise UsageError(f"{path} holds no recipe: it should be `key: value` lines.")
        return cls.from_dict(values, str(path))

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values."""
        return _plain(dataclasses.asdict(self))

    def to_yaml(self, path: Path) -> None:
        """Write the recipe as YAML, whole or not at all."""
        values = self.as_dict()
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        if yaml.safe_load(text) != values:  # PyYAML breaks lines at U+0085, which it then drops
            text = yaml.safe_dump(values, sort_keys=False)
        write_text(path, text)

    def changed(self, settings: Mapping[str, Any]) -> Self:
        """A copy with `{"training.epochs": 5}` applied; dotted keys reach inside.

        >>> Recipe().changed({"training.epochs": 5}).training.epochs
        5
        >>> Recipe().changed({"training.epoch": 5})
        Traceback (most recent call last):
        kenspeckle.errors.UsageError: ... 'training.epoch'..., did you mean 'training.epochs'?...
        """
        values = self.as_dict()
        for key, value in settings.items():
            *parents, last = key.split(".")
            inner = values
            for parent in parents:
                child = inner.get(parent)
                inner = child if isinstance(child, dict) else inner.setdefault(parent, {})
            inner[last] = value
        return type(self).from_dict(values, "What was set")


def _plain(value: Any) -> Any:
    """The same with lists for tuples, which YAML and JSON do not know."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _count(n: int) -> str:
    return "one fault" if n == 1 else f"{n} faults"


def _build(cls: type, values: Mapping[str, Any], path: str, faults: list[str]) -> Any:
    """Make `cls` from `values`, noting every fault with its dotted path."""
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{path}{key}"
        if key not in known:
            hint = nearest(name, [f"{path}{other}" for other in known])
            faults.append(f"'{name}' is not a setting{hint or f' (known: {_names(known)})'}")
        elif dataclasses.is_dataclass(hints[key]):
            if isinstance(value, Mapping):
                chosen[key] = _build(typing.cast(type, hints[key]), value, f"{name}.", faults)
            else:
                faults.append(f"'{name}' should hold settings of its own, found {value!r}")
        else:
            matched, result = _match(value, hints[key])
            if matched:
                chosen[key] = result
            else:
                faults.append(f"'{name}' should be {_say(hints[key])}, found {value!r}")
    return cls(**chosen)


def _names(known: set[str]) -> str:
    return ", ".join(sorted(known))


def _match(value: Any, kind: Any) -> tuple[bool, Any]:
    """Whether `value` is of `kind`, and its form there (a whole number may stand for a float)."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        for option in typing.get_args(kind):
            matched, result = _match(value, option)
            if matched:
                return True, result
        return False, None
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind), value
    if kind is type(None):
        return value is None, None
    if typing.get_origin(kind) is tuple:  # a list of names
        if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            return True, tuple(value)
        return False, None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if kind is float and isinstance(value, str):  # YAML reads 1e-3 as text
        try:
            return True, float(value)
        except ValueError:
            return False, None
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), value


def _say(kind: Any) -> str:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return " or ".join(_say(option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is Literal:
        return " or ".join(str(option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "a list of names"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(kind, "nothing (null)")
