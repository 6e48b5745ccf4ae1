"""Classification by rules that were there from the start: one exact distribution, learned and said.

The loss is -log p_net(what was seen and the rules): of a class that is cross-entropy, of a parent
or `husky|malamute` a sum over what it leaves open. Answers are p(class | rules).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.data.dataset import Dataset, class_list
from kenspeckle.errors import DataError
from kenspeckle.knowledge.compiled import Compiled
from kenspeckle.knowledge.formulas import Choice
from kenspeckle.knowledge.names import CLASS
from kenspeckle.knowledge.rules import Rules
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.losses import RULED_WORDS, Loss
from kenspeckle.tasks.task import Choices, Floats, Sizes
from kenspeckle.tasks.temperature import fit_temperature

Ints = NDArray[np.int64]
PIECE = 4096  # images whose probabilities are reckoned at once
MUTED = 1e6  # a temperature at which attributes say nothing


class RuledClassify(Classify):
    """One of the leaves of a rules file.

    One head has a logit a leaf that has images, and behind these the logits of attributes that tell
    such leaves apart (a sigmoid or a softmax each). Two temperatures make of them what is believed:
    one of the leaves, one of the attributes. Both are fitted together, on held-out images, by
    -log p(class | rules), since leaf and attributes say much of the same twice. Where attributes do
    not lower that by more than its standard error they are muted, and the network is calibrated as
    it would be without rules. Where there are classes without images it is the attributes that
    decide (Lampert et al. 2014, DAP), and logits of leaves tell apart those that look the same.

    Args:
        classes: ignored, since the rules say them: leaves with images, then those without.
        rules: as `Rules.kept` writes it.
        attribute_temperature: what logits of attributes are divided by; None mutes them until
            something was calibrated, but where classes without images need them.
        (the others as in `Classify`)
    """

    rules: Rules

    def __init__(
        self,
        classes: Sequence[str] = (),
        *,
        rules: Mapping[str, Any],
        attribute_temperature: float | None = None,
        **others: Any,
    ) -> None:
        self.rules = Rules.carried(rules)
        self.seen_leaves = class_list(set(self.rules.leaves) - set(self.rules.unseen))
        super().__init__((*self.seen_leaves, *class_list(self.rules.unseen)), **others)
        usual = 1.0 if self.rules.unseen else MUTED
        self.attribute_temperature = attribute_temperature or usual
        self._elsewhere: Compiled | None = None
        self.of_leaves: Compiled = self.rules.compile(self.seen_leaves)
        self._outputs = (*self.seen_leaves, *telling(self.rules, self.seen_leaves))
        self.compiled: Compiled = self.rules.compile(self._outputs)
        start = self.compiled.offsets[CLASS]
        self._atoms = [start + self.rules.leaves.index(name) for name in self.classes]
        self._number = {name: i for i, name in enumerate(self.classes)}
        self._open = self.compiled.possible(self.compiled.observed(self.classes))

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> RuledClassify:
        """With the classes of the rules, whatever the labels of the images are."""
        return cls(
            rules=choices.rules or {},
            head=choices.head,
            image_size=choices.fit.size,
            dropout=choices.dropout,
            pool=choices.pool,
            chosen=Loss(words=RULED_WORDS),
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Leaves that have images, then values of attributes."""
        return self._outputs

    def is_whole(self, label: str | None) -> bool:
        """Whether it names a single class."""
        return label in self.classes

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N,) class numbers; what says less than a class has a number behind these.

        Raises:
            DataError: a label is missing or not known to the rules.
        """
        new = [str(label) for label in dict.fromkeys(labels) if label not in self._number]
        if None in labels:
            raise DataError("An image without a label cannot be learned from.")
        if new:
            seen = self.compiled.possible(self.compiled.observed(new))
            more = {name: len(self._number) + i for i, name in enumerate(new)}
            self._number = {**self._number, **more}  # copies of the task keep their own
            self._open = torch.cat([self._open, seen])
        return torch.tensor([self._number[str(label)] for label in labels], dtype=torch.long)

    @property
    def mirrored(self) -> Mapping[int, int | None]:
        """As the section `mirror` says."""
        found: dict[int, int | None] = {}
        for one in self.rules.mirrored:
            becomes = None if one.becomes is None else self._number[self.rules.leaves[one.becomes]]
            found[self._number[self.rules.leaves[one.leaf]]] = becomes
        return found

    def changed(
        self, images: Tensor, targets: Tensor, names: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Images changed; where one is mirrored, its label becomes what the rules say.

        Where they say that a class becomes nothing known, its images are not mirrored; nor are
        those of a parent below which any class changes.
        """
        if "flip" not in names or not self.rules.mirrored:
            return super().changed(images, targets, names)
        images, targets = super().changed(images, targets, [n for n in names if n != "flip"])
        becomes = self._becomes().to(targets.device)[targets]
        is_flipped = (torch.rand(len(images)) < 0.5).to(targets.device) & (becomes >= 0)
        images = torch.where(is_flipped[:, None, None, None], images.flip(3), images)
        return images, torch.where(is_flipped, becomes, targets)

    def _becomes(self) -> Tensor:
        """(T,) of each number of `collate`, its number in the mirror; -1 is none."""
        found = torch.arange(len(self._number))
        for one in self.mirrored:
            found[self._open[:, self._atoms[one]]] = -1
        for one, other in self.mirrored.items():
            found[one] = -1 if other is None else other
        return found

    def left_open(self, targets: Tensor) -> Tensor:
        """(N,) targets -> (N, atoms) bool, which values of each choice they leave."""
        return self._open.to(targets.device)[targets]

    def losses(self, logits: Tensor, targets: Tensor, training: bool) -> Tensor:
        """(B,) -log p_net(what was seen and the rules)."""
        if self._elsewhere is None or self._elsewhere.place.device != logits.device:
            # A copy for the device: answers are reckoned where the network is brought back to.
            on_cpu = logits.device == self.compiled.place.device
            self._elsewhere = self.compiled if on_cpu else self._on(logits.device)
        return self._elsewhere.losses(logits, self.left_open(targets))

    def _on(self, device: torch.device) -> Compiled:
        return self.rules.compile(self.outputs).to(device)

    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) whether the likeliest permitted class is among those that the label leaves open."""
        said = torch.from_numpy(self.compiled.worlds(logits.cpu())[:, CLASS]).to(targets.device)
        start = self.compiled.offsets[CLASS]
        return self.left_open(targets).gather(1, (start + said)[:, None])[:, 0]

    def strata(self, labels: Sequence[str | None]) -> Ints:
        """The numbers of the labels."""
        return self.collate(labels).numpy()

    @property
    def is_muted(self) -> bool:
        """Whether attributes are left out of answers."""
        return self.attribute_temperature >= MUTED

    def distribution(self, rules: Rules) -> Compiled:
        """Over the leaves, and over attributes unless they are muted."""
        if rules is self.rules:
            return self.of_leaves if self.is_muted else self.compiled
        return rules.compile(self.seen_leaves if self.is_muted else self.outputs)

    def heard(self, outputs: Tensor) -> Tensor:
        """(B, D) calibrated: log p of leaves, then what attributes say unless they are muted."""
        count = len(self.seen_leaves)
        leaves = outputs[:, :count].double() / self.temperature
        if self.rules.unseen and not self.is_muted:
            # A class without images has no logit that could stand against these, so that they
            # only tell apart what attributes cannot.
            group = self._alike.to(leaves.device)
            top = leaves.max(1, keepdim=True).values
            sums = leaves.new_zeros(len(leaves), len(self.seen_leaves))
            sums.index_add_(1, group, (leaves - top).exp())
            leaves = leaves - top - sums[:, group].clamp(min=1e-300).log()
        leaves = leaves.log_softmax(1)
        if self.is_muted:
            return leaves
        return torch.cat([leaves, outputs[:, count:].double() / self.attribute_temperature], 1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Logits (B, D) -> p(class | rules), (B, K)."""
        heard, compiled = self.heard(outputs).float(), self.distribution(self.rules)
        pieces = [compiled.marginals(some) for some in heard.split(PIECE)]
        return torch.cat([piece[:, self._atoms] for piece in pieces])

    def alone(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """What the leaves' logits say by themselves."""
        plain = Classify(self.seen_leaves, temperature=self.temperature)
        return plain.decode(outputs[:, : len(self.seen_leaves)], paths)

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """One answer a row of logits (B, D), which keeps the rules."""
        alone = self.alone(outputs, paths)
        return self.own_rules.answers(self.compiled, outputs, outputs, alone)

    def calibrate(self, logits: Floats, targets: Ints) -> None:
        """Set both temperatures from held-out logits (N, D)."""
        count = len(self.seen_leaves)
        rows = targets < count
        logits, targets = logits[rows], targets[rows]
        self.temperature = fit_temperature(logits[:, :count], targets).value
        self.attribute_temperature = MUTED if not self.rules.unseen else 1.0
        if logits.shape[1] == count or len(targets) < 2:
            return
        plain = self._surprise(logits, targets)
        was = self.temperature, self.attribute_temperature
        self._fit(logits, targets)
        falls = plain - self._surprise(logits, targets)
        error = float(falls.std(ddof=1) / math.sqrt(len(falls)))
        if not self.rules.unseen and falls.mean() <= error:
            self.temperature, self.attribute_temperature = was

    def judge(self, logits: Floats, targets: Ints) -> tuple[Floats, float]:
        """-log p(label | rules) of each image, and the share of right answers."""
        kept = self.temperature, self.attribute_temperature
        self.calibrate(logits, targets)
        losses = self._surprise(logits, targets)
        seen = self._open[torch.from_numpy(targets)][:, self._atoms]
        said = self.probabilities(torch.from_numpy(logits)).argmax(1)
        self.temperature, self.attribute_temperature = kept
        right = seen.gather(1, said[:, None])[:, 0]
        return losses, float(right.double().mean())

    def kept(self) -> dict[str, Any]:
        """Temperatures and the rules."""
        return {
            **super().kept(),
            "attribute_temperature": self.attribute_temperature,
            "rules": self.rules.kept(),
        }

    @cached_property
    def _alike(self) -> Tensor:
        """(L,) numbers of leaves with images; equal where all attributes heard are."""
        heard = [c for c in self.compiled.columns if self.rules.choices[c].kind == "attribute"]
        rows = [
            self._open[: len(self.seen_leaves), start : start + len(self.rules.choices[c].values)]
            for c in heard
            for start in (self.compiled.offsets[c],)
        ]
        looks = torch.cat([torch.zeros(len(self.seen_leaves), 0, dtype=torch.bool), *rows], 1)
        return looks.unique(dim=0, return_inverse=True)[1]

    def _surprise(self, logits: Floats, targets: Ints) -> Floats:
        """(N,) -log p(label | rules), never of certainty: one in n + 2 is taken to be wrong."""
        p = self.probabilities(torch.from_numpy(logits)).double().numpy()
        seen = self._open[torch.from_numpy(targets)][:, self._atoms].numpy()
        doubt = 1 / (len(targets) + 2)
        share = seen.sum(1) / seen.shape[1]
        found: Floats = -np.log((1 - doubt) * (p * seen).sum(1) + doubt * share + 1e-12)
        return found

    def _fit(self, logits: Floats, targets: Ints) -> None:
        """Both temperatures with the least mean of `_surprise`."""

        def mean(logs: Floats) -> float:
            self.temperature, self.attribute_temperature = np.exp(logs).tolist()
            return float(self._surprise(logits, targets).mean())

        start = [math.log(self.temperature), math.log(max(1.0, self.temperature))]
        bounds = [(-5.0, 10.0), (-5.0, math.log(MUTED) - 1)]
        found = minimize(mean, start, method="Nelder-Mead", bounds=bounds, options={"maxfev": 120})
        self.temperature, self.attribute_temperature = np.exp(found.x).tolist()


def telling(rules: Rules, leaves: Sequence[str]) -> list[str]:
    """Names of the logits of attributes that tell leaves apart.

    An attribute that the rules leave open for all of them, or that is the same of all, cannot be
    learned from labels of classes.

    Args:
        leaves: that have images.
    """
    attributes = [choice for choice in rules.choices if choice.kind == "attribute"]
    if not attributes:
        return []
    every = [name for choice in attributes for name in _outputs_of(choice)]
    compiled = rules.compile([*leaves, *every])
    left = compiled.possible(compiled.observed(leaves))
    found = []
    for number, choice in enumerate(rules.choices):
        if choice.kind == "attribute":
            start = compiled.offsets[number]
            own = left[:, start : start + len(choice.values)]
            settled = own[own.sum(1) == 1]
            if int(settled.any(0).sum()) > 1:
                found += _outputs_of(choice)
    return found


def _outputs_of(choice: Choice) -> list[str]:
    """The names of an attribute's logits."""
    if choice.is_plain:
        return [choice.name]
    return [f"{choice.name} is {value}" for value in choice.values]
