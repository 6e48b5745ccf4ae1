"""Reading under rules: what lines that nobody told teach, and what is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.source import File
from kenspeckle.data.strings import code_points
from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge.rules import Rules
from kenspeckle.models.cnn import tiny
from kenspeckle.models.reader import CharacterReader, ColumnReader
from kenspeckle.models.seed_transformer import BEGIN, END, PAD
from kenspeckle.tasks.read import Read
from kenspeckle.tasks.ruled_read import RuledRead
from kenspeckle.tasks.task import Choices

PLATES = Rules.parse("text:\n  plate: {pattern: '[AB][78]'}\n").kept()


class Columns(nn.Module):
    """A reader by columns of which each logit is free."""

    def __init__(self, lines, columns=6):
        super().__init__()
        self.free = nn.Parameter(torch.randn(lines, columns, 5, generator=_seeded()))

    def logits(self, images):
        return self.free[images[:, 0, 0, 0].long()]

    def losses(self, images, wanted):
        logits = self.logits(images).log_softmax(2).transpose(0, 1)
        places = torch.tensor([["AB78".index(chr(c)) for c in row] for row in wanted.tolist()])
        lengths = torch.full((len(images),), logits.shape[0])
        found = nn.functional.ctc_loss(
            logits, places, lengths, torch.full((len(images),), 2), blank=4, reduction="none"
        )
        return found / 2


def _seeded():
    return torch.Generator().manual_seed(0)


def batch_of(task, labels):
    images = torch.arange(len(labels)).view(-1, 1, 1, 1).to(torch.uint8)
    rows = torch.arange(len(labels))
    return Batch(images, task.collate(labels), torch.ones(len(labels)), rows)


def test_lines_that_are_told_count_as_without_rules_and_others_by_what_is_permitted():
    task, network = RuledRead("AB78", rules=PLATES), Columns(3)
    own = [
        task.loss(network, batch_of(task, [label, label, label]), "network").item()
        for label in ("A7", None)
    ]
    plain = Read("AB78").collate(["A7"] * 3)
    images = batch_of(task, ["A7"] * 3).images
    assert own[0] == pytest.approx(network.losses(images, plain).mean().item(), abs=1e-6)
    permitted = torch.stack(
        [
            -2 * network.losses(images, Read("AB78").collate([line] * 3))
            for line in ("A7", "A8", "B7", "B8")
        ]
    ).logsumexp(0)
    assert own[1] == pytest.approx(-permitted.mean().item() / 2, abs=1e-5)
    both = task.loss(network, batch_of(task, ["A7", None, "A7"]), "network").item()
    each = network.losses(images, plain)
    assert both == pytest.approx(((each[0] + each[2] - permitted[1] / 2) / 3).item(), abs=1e-5)


def test_what_it_learns_from_a_line_that_nobody_told_is_that_it_is_permitted():
    task, network = RuledRead("AB78", rules=PLATES), Columns(2)
    batch = batch_of(task, [None, None])
    optimiser = torch.optim.Adam(network.parameters(), 0.2)
    before = task.loss(network, batch, "network").item()
    for _ in range(40):
        optimiser.zero_grad()
        task.loss(network, batch, "network").backward()
        optimiser.step()
    assert task.loss(network, batch, "network").item() < 0.1 * before


def test_every_measured_line_is_permitted_and_a_model_file_keeps_it_so():
    task = RuledRead("AB78", rules=PLATES, longest=4, fit=Fit(16, across=32))
    again = RuledRead("AB78", fit=task.fit, **task.kept())
    network = again.network(tiny()).eval()
    assert isinstance(network, ColumnReader)
    images = torch.randint(0, 255, (4, 3, 16, 32), dtype=torch.uint8, generator=_seeded())
    with torch.inference_mode():
        answers = again.answered(network, images, list("abcd"), [(32, 16)] * 4)
    said = [next(iter(answer.probabilities)) for answer in answers]
    assert all(len(line) == 2 and line[0] in "AB" and line[1] in "78" for line in said)


def test_a_reader_by_characters_says_the_likeliest_permitted_line_of_a_few():
    task = RuledRead("78AB", rules=PLATES, reader="decoder", longest=4, fit=Fit(16, across=32))
    network = task.network(tiny()).eval()
    assert isinstance(network, CharacterReader)
    images = torch.randint(0, 255, (3, 3, 16, 32), dtype=torch.uint8, generator=_seeded())
    lines = [a + b for a in "AB" for b in "78"]
    with torch.inference_mode():
        answers = task.answered(network, images, list("abc"), [(32, 16)] * 3)
        for answer, image in zip(answers, images, strict=True):
            logits = network.taught(image.expand(4, -1, -1, -1), code_points(lines)).double()
            logits[:, :, [PAD, BEGIN]] = -torch.inf  # which it never writes
            written = torch.tensor([["78AB".index(c) + END + 1 for c in line] for line in lines])
            aim = torch.nn.functional.pad(written, (0, 1), value=END)
            log_p = logits.log_softmax(2).gather(2, aim[..., None]).sum((1, 2))
            best = int(log_p.argmax())
            said = {lines[best]: log_p.softmax(0)[best].item()}
            assert answer.probabilities == pytest.approx(said, abs=1e-4)
            assert answer.rules["permitted"] == pytest.approx(log_p.exp().sum().item(), rel=1e-3)
            assert "approximate" in answer.rules["algorithms"]


def test_what_cannot_be_learned_under_rules_is_refused(tmp_path):
    def used(*labels):
        samples = [Sample(f"{i}.png", File(tmp_path / f"{i}.png"), x) for i, x in enumerate(labels)]
        return Dataset(root=tmp_path, samples=tuple(samples), classes=(), means="text")

    with pytest.raises(DataError, match="so no character"):
        RuledRead.for_data(used(None, None), [0, 1], Choices(rules=PLATES))
    with pytest.raises(UsageError, match="characters that the model knows: xy"):
        RuledRead.for_data(used("xy", None), [0, 1], Choices(rules=PLATES))
    with pytest.raises(UsageError, match="--head ctc"):
        RuledRead.for_data(used("A7", None), [0, 1], Choices(rules=PLATES, head="decoder"))
    task = RuledRead.for_data(used("A7", None, "B8"), [0, 1, 2], Choices(rules=PLATES))
    assert task.classes == ("7", "8", "A", "B")
    assert [task.is_whole(label) for label in ("A7", None)] == [True, False]
