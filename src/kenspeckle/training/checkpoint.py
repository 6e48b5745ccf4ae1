"""Snapshots of a run on disk: one safetensors file each, named by its own hash, never pickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from kenspeckle.files import storage_error, write_bytes

KEPT = 3  # the newest may be damaged, the one before it may be too
_NAME = re.compile(r"step-(\d{8,})-([0-9a-f]{64})\.safetensors")
_FORMAT = "kenspeckle-checkpoint-1"


def save(folder: Path, tree: Mapping[str, Any], step: int) -> Path:
    """Write nested dicts, lists, tuples of tensors, numbers, text and None; keep the newest three.

    The file's name holds the SHA-256 of its content, so damage shows. A process killed at any
    moment leaves the older snapshots as they were.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    content = to_bytes(tree)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"step-{step:08d}-{digest}.safetensors"
    for leftover in folder.glob(".step-*"):  # of a process that was killed while it wrote
        _remove(leftover)
    write_bytes(path, content)
    for old in [other for other in _newest_first(folder) if other != path][KEPT - 1 :]:
        _remove(old)
    return path


def load_latest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest snapshot that is whole, or None, and a note on each damaged one passed over."""
    notes: list[str] = []
    for path in _newest_first(folder):
        try:
            return load(path), notes
        except ValueError as error:
            notes.append(f"{path.name} is damaged ({error}); the snapshot before it is used.")
        except OSError as error:
            notes.append(f"{path.name} cannot be read ({error}); the snapshot before it is used.")
    return None, notes


def load(path: Path) -> dict[str, Any]:
    """Read one snapshot.

    Raises:
        ValueError: its content is not what its name says, or is not a snapshot.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    named = _NAME.fullmatch(path.name)
    if named is None or hashlib.sha256(content).hexdigest() != named[2]:
        raise ValueError("its content does not match the hash in its name")
    return from_bytes(content)


def to_bytes(tree: Mapping[str, Any]) -> bytes:
    """One safetensors blob: the tensors by number, the structure as JSON in the metadata.

    Raises:
        TypeError: something in the tree is not of a kind that can be stored.
    """
    tensors: dict[str, Tensor] = {}
    # One key only: safetensors writes several in a random order; equal trees must be equal bytes.
    structure = json.dumps({"format": _FORMAT, "tree": _describe(tree, tensors)})
    return safetensors.torch.save(tensors, {"structure": structure})


def from_bytes(content: bytes) -> dict[str, Any]:
    """What `to_bytes` was given.

    Raises:
        ValueError: the bytes are not such a blob.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        structure = json.loads(metadata["structure"])
        if structure["format"] != _FORMAT:
            raise ValueError(f"its format is {structure['format']!r}")
        tensors = safetensors.torch.load(content)
        tree: dict[str, Any] = _rebuild(structure["tree"], tensors)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"it is not a snapshot: {error}") from None
    return tree


def _describe(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for `value`; its tensors, copied, go to `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        pairs = [[_describe(k, tensors), _describe(v, tensors)] for k, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_describe(item, tensors) for item in value]}
    raise TypeError(f"A snapshot cannot hold a {type(value).__name__}.")


def _rebuild(described: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(described, dict):
        return described
    ((kind, inner),) = described.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {_rebuild(k, tensors): _rebuild(v, tensors) for k, v in inner}
    items = [_rebuild(item, tensors) for item in inner]
    return items if kind == "list" else tuple(items)


def _newest_first(folder: Path) -> list[Path]:
    """Snapshots by step; of two at one step (a run that was resumed) the later written."""
    found = [(path, _NAME.fullmatch(path.name)) for path in folder.glob("step-*.safetensors")]
    named = [(int(m[1]), path.stat().st_mtime_ns, path) for path, m in found if m]
    return [path for _, _, path in sorted(named, reverse=True)]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from None
