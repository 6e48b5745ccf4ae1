"""What a bundle says of itself: versions, members with their hashes, how to rebuild the network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from kenspeckle.data.fit import Fit
from kenspeckle.errors import BundleError
from kenspeckle.models.backbone import Positions
from kenspeckle.models.heads import Pool, Transform
from kenspeckle.version import __version__

SCHEMA = 2  # goes up when an older version could misread a newer file

MANIFEST = "manifest.json"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TRAINING = "training.safetensors"
REPORT = "report.json"
CARD = "README.md"
MEMBERS = (MANIFEST, CONFIG, WEIGHTS, TRAINING, REPORT, CARD)
HEADS = ("features", "pooled", "flatten", "sigmoid", "margin")
MOST_BYTES = 4 << 30  # of one member
MOST_JSON_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that is needed to answer, but the tensors.

    Args:
        task, model: names in the catalogues.
        classes: K names; an index into this is a label's number. Of a gallery, which may be empty,
            whoever is enrolled.
        head: `features`, `pooled`, `flatten`, `sigmoid` or `margin`; `widths` and `transform`
            belong to `features`, `pool` to `pooled`.
        image_size, resize: how an image becomes a square; `image_width` where it is none;
            `looks` is what is seen of a clip.
        precision: what the network ran in when its answers were measured.
        positions: of a Transformer's tokens.
        features: numbers a step, where it reads sequences; 0 for images.
        settings: what the task found out for itself, such as temperature and thresholds.
        threshold: distance above which an image is unknown; None when none could be set.
        paths: (N,) names of the training images, for nearest images.
        labels: (N,) what people say they show.
        recipe: the resolved recipe, as plain values.
    """

    task: str
    model: str
    classes: tuple[str, ...]
    head: str
    image_size: int
    resize: str
    image_width: int | None = None
    looks: str = "changes"
    precision: str = "float32"
    widths: tuple[int, ...] = ()
    transform: str | None = None
    pool: str = "avg"
    positions: str = "sin2d"
    features: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> Fit:
        """How an image becomes what the network sees."""
        looks = cast(Any, self.looks)
        return Fit(self.image_size, cast(Any, self.resize), self.image_width, looks)

    def to_json(self) -> bytes:
        """Stable bytes: the same config gives the same file."""
        return as_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> Config:
        """Read and check what `to_json` wrote.

        Raises:
            BundleError: a key is missing, unknown or of the wrong kind.
        """
        values = parsed(content, CONFIG)
        known = {f.name: f for f in dataclasses.fields(cls)}
        needed = {n for n, f in known.items() if _is_needed(f)}
        if values.keys() - known.keys() or needed - values.keys():
            raise BundleError(
                f"The model file's {CONFIG} has missing or unknown keys; it is damaged."
            )
        for name in ("classes", "widths", "paths", "labels"):
            if not isinstance(values.get(name, []), list):
                raise BundleError(f"The model file's {CONFIG} holds no list of {name}.")
            values[name] = tuple(values.get(name, []))
        config = cls(**values)
        if fault := _impossible(config):
            raise BundleError(f"The model file's {CONFIG} is damaged: {fault}.")
        return config


def _impossible(config: Config) -> str:
    """What in a config cannot be, or nothing."""
    texts = (config.task, config.model, *config.classes, *config.paths, *config.labels)
    settings = config.settings if isinstance(config.settings, Mapping) else {}
    longest = settings.get("longest", 1)
    checks = {
        "a name is not text": all(isinstance(text, str) for text in texts),
        "its class list is empty or repeats a name": (config.classes or config.head == "margin")
        and len(set(config.classes)) == len(config.classes),
        "its image size is impossible": _is_side(config.image_size)
        and (config.image_width is None or _is_side(config.image_width)),
        "its way of resizing is not known": config.resize in ("pad", "stretch", "crop"),
        "its way of looking at clips is not known": config.looks in ("changes", "frames"),
        "its precision is not known": config.precision in ("float32", "bfloat16"),
        "its head is not known": config.head in HEADS,
        "its way of pooling is not known": config.pool in get_args(Pool),
        "its positions are not known": config.positions in get_args(Positions),
        "its number of features is impossible": type(config.features) is int
        and 0 <= config.features <= 100_000,
        "its head lacks a transform": config.head != "features"
        or (bool(config.widths) and config.transform in get_args(Transform)),
        "its widths are not numbers": all(type(w) is int and 0 < w < 1e6 for w in config.widths),
        "its settings are no settings": isinstance(config.settings, Mapping),
        "its temperature is not a positive number": _is_positive(settings.get("temperature", 1.0)),
        "its rules are no rules": isinstance(settings.get("rules", {}), Mapping),
        "its attributes' temperature is not a positive number": _is_positive(
            settings.get("attribute_temperature", 1.0)
        ),
        "its thresholds are not shares": _are_shares(
            settings.get("thresholds", [0.5] * len(config.classes)), len(config.classes)
        ),
        "its limits are no similarities": _are_limits(settings.get("limits", [0.5])),
        "its network is of impossible size": all(
            _is_side(settings.get(name, 1))
            for name in ("channels", "latent", "width", "critic_width")
        ),
        "its alphabet is no text": isinstance(settings.get("alphabet", ""), str),
        "its longest answer is impossible": type(longest) is int and 0 < longest <= 100_000,
        "its threshold is not a positive number": config.threshold is None
        or _is_positive(config.threshold),
        "its training images and labels differ in number": len(config.paths) == len(config.labels),
    }
    return next((words for words, holds in checks.items() if not holds), "")


def _is_side(value: object) -> bool:
    return type(value) is int and 0 < value <= 4096


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e30


def _are_shares(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(_is_positive(value) and value < 1 for value in values)
    )


def _are_limits(values: object) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(value, float) and -2 <= value <= 2 for value in values)
    )


def _is_needed(spec: dataclasses.Field[Any]) -> bool:
    return spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING


def as_json(values: Any) -> bytes:
    """JSON with a fixed layout; non-ASCII kept readable, file names that are no UTF-8 survive."""
    text = json.dumps(values, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return text.encode("utf-8", "surrogateescape")


def parsed(content: bytes, name: str) -> dict[str, Any]:
    """A JSON object of a bundle.

    Raises:
        BundleError: it is no JSON object, or larger or deeper than any that we write.
    """
    if len(content) > MOST_JSON_BYTES:
        raise BundleError(f"The model file's {name} is larger than {MOST_JSON_BYTES >> 20} MB.")
    try:
        values = json.loads(content.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        raise BundleError(f"The model file's {name} cannot be read; the file is damaged.") from None
    if not isinstance(values, dict):
        raise BundleError(f"The model file's {name} holds no settings; the file is damaged.")
    return values


def manifest_for(members: Mapping[str, str]) -> bytes:
    """The manifest: schema, the version that wrote it, member name -> SHA-256."""
    return as_json({"schema": SCHEMA, "kenspeckle": __version__, "members": dict(members)})


def checked_manifest(content: bytes) -> dict[str, str]:
    """Member name -> SHA-256.

    Raises:
        BundleError: damaged, or written by a version whose files this one may misread.
    """
    values = parsed(content, MANIFEST)
    schema, members = values.get("schema"), values.get("members")
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleError(
            f"The model file was written by Kenspeckle {values.get('kenspeckle')} in format "
            f"{schema}; this version reads up to {SCHEMA}. Run `pip install --upgrade kenspeckle`."
        )
    if schema != SCHEMA or not isinstance(members, dict):
        raise BundleError(f"The model file's {MANIFEST} holds no format number; it is damaged.")
    return members
