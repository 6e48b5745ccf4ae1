"""One file with all that is needed to answer later, elsewhere: a stored zip of checked members."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kenspeckle.bundle.manifest import (
    CARD,
    CONFIG,
    MANIFEST,
    MEMBERS,
    MOST_BYTES,
    REPORT,
    TRAINING,
    WEIGHTS,
    Config,
    as_json,
    checked_manifest,
    manifest_for,
    parsed,
)
from kenspeckle.errors import BundleError, KenError
from kenspeckle.files import sha256, write_bytes
from kenspeckle.models.backbone import Input, Positions
from kenspeckle.models.heads import FeatureHead, Transform
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.tasks import RULED, TASKS
from kenspeckle.tasks.task import ClassTask, Network, Task
from kenspeckle.trust.unknown import Familiar


@dataclass(frozen=True)
class Bundle:
    """A finished model.

    Args:
        config: what it is and how to rebuild it.
        weights: the network's tensors by name.
        vectors: (N, D) float16 unit vectors of the training images; (0, 0) when there are none.
        reference: (M,) distances of held-out images, sorted.
        logits: (N, K) out-of-fold logits of the training images; (0, 0) when there are none.
        report: what was measured, as in `report.json`.
        card: what a reader of the file should know, Markdown.
    """

    config: Config
    weights: Mapping[str, Tensor]
    vectors: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float16))
    reference: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    report: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""

    def to_bytes(self) -> bytes:
        """The file's bytes; the same bundle gives the same bytes."""
        training = {"vectors": self.vectors, "reference": self.reference, "logits": self.logits}
        members = {
            CONFIG: self.config.to_json(),
            WEIGHTS: _saved(self.weights),
            TRAINING: _saved(training),
            REPORT: as_json(self.report),
            CARD: self.card.encode("utf-8", "surrogateescape"),
        }
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, member in {MANIFEST: manifest_for(hashes), **members}.items():
                archive.writestr(zipfile.ZipInfo(name), member)  # ZipInfo's date is fixed: 1980
        return content.getvalue()

    def save(self, path: Path) -> None:
        """Write the bundle, whole or not at all.

        Raises:
            StorageError: the disk is full or the folder cannot be written to.
        """
        write_bytes(path, self.to_bytes())

    def checked(self) -> Bundle:
        """Itself, if the vectors are those of the training images that the config names.

        Raises:
            BundleError: they are not.
        """
        if len(self.vectors) != len(self.config.paths) or self.vectors.ndim != 2:
            raise BundleError("its training vectors and its training images differ in number.")
        return self

    def task(self) -> Task[Any]:
        """The question it answers, with its classes and what it found out for itself."""
        config = self.config
        try:
            kinds = RULED if "rules" in config.settings else TASKS
            task: Task[Any] = kinds.load(config.task)(
                config.classes,
                head="pooled" if config.head == "features" else config.head,
                image_size=config.image_size,
                fit=config.fit,
                pool=config.pool,
                **config.settings,
            )
        except TypeError as error:
            raise BundleError(f"The model file's settings do not fit its task: {error}.") from None
        if task.rules is not None and task.classes != config.classes:
            raise BundleError("The model file's rules and its classes do not fit together.")
        if task.compares:
            task.remember(config.labels, self.vectors.float().numpy(), config.paths)
        return task

    def network(self) -> nn.Module:
        """The network with its weights, ready to answer (eval mode).

        Raises:
            BundleError: the tensors do not fit the network that the config names.
        """
        try:
            config = self.config
            task = self.task()
            if task.learning.brings is not None:
                own: nn.Module = task.network(None)
                own.load_state_dict(dict(self.weights))
                return own.eval()
            built = Input(config.image_size, cast(Positions, config.positions), config.features)
            backbone = make_backbone(config.model, fresh=True, built=built)
            if config.head == "features":
                transform = cast(Transform, config.transform)
                assert isinstance(task, ClassTask)
                head = FeatureHead(config.widths, len(task.outputs), transform)
                network: nn.Module = Network(backbone, head)
            else:
                network = task.network(backbone)
            network.load_state_dict(dict(self.weights))
        except KenError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise BundleError(
                f"The model file's weights do not fit its network: {reason}"
            ) from None
        return network.eval()

    def familiar(self) -> Familiar | None:
        """The training images' vectors and the threshold of `unknown`, if it holds any.

        A task that compares with them refuses by itself.
        """
        if not len(self.vectors) or TASKS.load(self.config.task).compares:
            return None
        threshold = math.inf if self.config.threshold is None else self.config.threshold
        vectors = self.vectors.float().numpy()
        return Familiar(vectors, threshold, self.reference.numpy().astype(np.float32))


def load(path: str | Path, expect_sha256: str | None = None) -> Bundle:
    """Read and check a bundle; nothing in it is run or unpickled, nothing is unpacked to disk.

    Args:
        expect_sha256: of the whole file, for those who must know who made it: the hashes inside
            show damage, not tampering.

    Raises:
        BundleError: not a bundle, damaged, altered, or newer than this version.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"There is no model file {path}.")
    if expect_sha256 is not None and sha256(path) != expect_sha256.lower().strip():
        raise BundleError(
            f"{path} is not the file you expect: its SHA-256 is {sha256(path)}. Do not use it "
            "unless you know why it differs."
        )
    try:
        members = _members(path)
        return Bundle(
            config=Config.from_json(members[CONFIG]),
            weights=safetensors.torch.load(members[WEIGHTS]),
            **safetensors.torch.load(members[TRAINING]),
            report=parsed(members[REPORT], REPORT),
            card=members[CARD].decode("utf-8", "surrogateescape"),
        ).checked()
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    except (OSError, safetensors.SafetensorError, TypeError, ValueError, KeyError) as error:
        raise BundleError(f"{path} is damaged or altered ({error}); get a fresh copy.") from None


def _members(path: Path) -> dict[str, bytes]:
    """The members by name, each checked against its hash."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if sorted(info.filename for info in infos) != sorted(MEMBERS):
                raise BundleError("this is not a Kenspeckle model file, or it is damaged.")
            for info in infos:
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > MOST_BYTES:
                    raise BundleError(f"its member {info.filename} is not stored as it should be.")
            members = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BundleError(
            f"this is not a Kenspeckle model file, or it is damaged ({error})."
        ) from None
    hashes = checked_manifest(members[MANIFEST])
    for name in MEMBERS[1:]:
        if hashes.get(name) != hashlib.sha256(members[name]).hexdigest():
            raise BundleError(f"its {name} is damaged or altered (its SHA-256 differs).")
    return members


def _saved(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().contiguous() for k, v in tensors.items()})
