"""What a line of characters may be: the likeliest permitted one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import union
from kenspeckle.knowledge.beam import WIDTH, likeliest
from kenspeckle.knowledge.compiled import BrokenRule
from kenspeckle.knowledge.ctc import ctc_best, ctc_log_sum
from kenspeckle.knowledge.explained import Explanation, Spoken
from kenspeckle.knowledge.rules import Rules
from kenspeckle.knowledge.scan import IMPOSSIBLE
from kenspeckle.models.reader import CharacterReader, ColumnReader
from kenspeckle.tasks.read import Read
from kenspeckle.tasks.under import Under, broken
from kenspeckle.words import percent

# p_net(rules) below which a line is unknown; one of many characters is seldom right as a whole, so
# less is asked than of a class.
LEAST = 0.01


_ALGORITHMS = {
    "ctc": "automaton over all alignments (exact; the likeliest single way)",
    "decoder": f"beam of {WIDTH} over what an automaton permits, approximate",
}


class LinesUnder(Under):
    """What a line of characters may be.

    For a reader by columns it is exact, over all alignments; for one that writes character by
    character a beam over permitted beginnings, which may miss the likeliest line and says so.

    Args:
        task: `read`.
        rules: with a section `text`; a line should be one of them.

    Raises:
        UsageError: no text is named, or none can be written with the characters that were learned.
    """

    def __init__(self, task: Read, rules: Rules) -> None:
        if not rules.texts:
            raise UsageError(f"{rules.file} has no section `text` that says what a line may be.")
        self.task, self.rules = task, rules
        found = [(text, text.automaton(task.classes)) for text in rules.texts]
        self.texts = [(text, automaton) for text, automaton in found if not automaton.is_empty]
        if self.texts:
            self.any = union([automaton for _, automaton in self.texts])
        else:
            raise UsageError(
                f"No text of {rules.file} can be written with the characters that the model knows: "
                f"{''.join(task.classes)}"
            )

    def answers(
        self,
        network: nn.Module,
        batch: Tensor,
        outputs: Tensor,
        alone: Sequence[Answer],
        facts: Sequence[Mapping[str, str]] | None = None,
    ) -> list[Answer]:
        """As `Under.answers`."""
        with torch.inference_mode():
            if self.task.reader == "ctc":
                found = self._by_columns(cast(ColumnReader, network), batch)
            else:
                found = self._by_characters(cast(CharacterReader, network), batch)
        return [self._answer(answer, *one) for answer, one in zip(alone, found, strict=True)]

    def _by_columns(self, network: ColumnReader, batch: Tensor) -> list[tuple[str, float, float]]:
        """Of each image a permitted line, its log p and log p_net(permitted)."""
        log_p = network.logits(batch).double().log_softmax(2)
        lengths = torch.full((len(log_p),), log_p.shape[1])
        best, scores = ctc_best(log_p, lengths, self.any)
        permitted = ctc_log_sum(log_p, lengths, self.any).clamp(max=0)
        texts = [self._text(symbols.tolist()) for symbols in best]
        return list(zip(texts, scores.tolist(), permitted.tolist(), strict=True))

    def _by_characters(
        self, network: CharacterReader, batch: Tensor
    ) -> list[tuple[str, float, float]]:
        """The same by a beam; log p_net(permitted) is a lower bound."""
        memory, inside = network.remembered(batch)
        found = []
        for states, places in zip(memory, inside, strict=True):
            step = partial(network.next, states[None], places[None])
            lines = likeliest(step, self.any, self.task.longest)
            best, score = lines[0] if lines else ((), IMPOSSIBLE)
            permitted = float(torch.tensor([p for _, p in lines] or [IMPOSSIBLE]).logsumexp(0))
            found.append((self._text(best), score, min(0.0, permitted)))
        return found

    def _text(self, symbols: Sequence[int]) -> str:
        said = "".join(self.task.classes[i] for i in symbols if i >= 0)
        if said and not any(automaton.accepts(said) for _, automaton in self.texts):
            raise BrokenRule(f"no text of {self.rules.file} permits {said!r}")
        return said

    def _answer(self, alone: Answer, said: str, log_p: float, permitted: float) -> Answer:
        own = alone.label or ""
        p = min(1.0, math.exp(log_p - permitted)) if log_p > IMPOSSIBLE else 0.0
        spoken: tuple[Spoken, ...] = ()
        if not self.any.accepts(own):
            without = {"text": own} if len(self.texts) == 1 else None
            spoken = tuple(
                Spoken(f"L{text.place.line}", text.place.line, text.words, None, without)
                for text, _ in self.texts
            )
        why = Explanation(
            values={"text": said},
            answer={"text": said},
            probability=p,
            permitted=math.exp(permitted),
            own={} if own == said else {"text": own},
            price=max(0.0, math.log(max(alone.probability, 1e-300)) - log_p),
            rules=spoken,
            next=None,
            algorithms=_ALGORITHMS[self.task.reader],
            file=self.rules.file,
        )
        unknown = not said or why.permitted < LEAST
        words = f"{said} ({percent(p)})"
        if unknown:
            share = percent(why.permitted)
            words = f"unknown: the rules permit {share} of what it believes to see ({words})"
        elif spoken:
            words += f"; alone it would say {alone.words}, but {broken(why)}"
        return replace(
            alone,
            label=None if unknown else said,
            probabilities={said: p},
            words=words,
            unknown=unknown,
            places=alone.places if own == said else (),
            rules=why.as_dict(),
        )
