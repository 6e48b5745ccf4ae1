"""The encoder-decoder: it cannot see ahead, padding never matters, and it writes until the end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.data.strings import code_points, text_of
from kenspeckle.models.seed_transformer import (
    BEGIN,
    END,
    HEADS,
    PAD,
    WIDTH,
    CrossBlock,
    EncoderDecoder,
    TokenDecoder,
    TokenEncoder,
    numbers,
)
from kenspeckle.models.transformer import Attention

GIVEN, WRITTEN = "abcdefgh", "0123-"
STRINGS = ["a", "fade", "bcdefgha", "hhab"]
LONGEST = 12


def alphabet(characters: str) -> Tensor:
    return code_points(["".join(sorted(characters))])[0]


def network(end_bias: float = 0.0) -> EncoderDecoder:
    """In eval mode; it writes strings of many lengths, shorter ones with a larger `end_bias`."""
    torch.manual_seed(1)
    encoder, decoder = TokenEncoder(len(GIVEN)), TokenDecoder(len(WRITTEN))
    encoder.alphabet.copy_(alphabet(GIVEN))
    decoder.alphabet.copy_(alphabet(WRITTEN))
    with torch.no_grad():
        decoder.linear.weight.mul_(3)
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
        decoder.linear.bias[END] += end_bias
    return EncoderDecoder(encoder, decoder, LONGEST).eval()


def written_by(made: EncoderDecoder, given: Tensor) -> list[str]:
    return [text_of(row[:, 0].long().tolist()) for row in made(given)]


@torch.no_grad()
def test_no_place_sees_what_comes_later():
    made, given = network(), code_points(STRINGS[1:2])
    one, other = code_points(["01230"]), code_points(["012-3"])
    ours, theirs = made.taught(given, one), made.taught(given, other)
    assert torch.equal(ours[:, :4], theirs[:, :4])  # place 3 has seen begin, 0, 1 and 2
    assert not torch.allclose(ours[:, 4:], theirs[:, 4:], atol=1e-3)


@torch.no_grad()
def test_padding_of_what_is_given_never_matters():
    made, given, wanted = network(), code_points(STRINGS), code_points(["0", "12", "3-", "-01"])
    longer = F.pad(given, (0, 7))
    states, more = made.backbone(given), made.backbone(longer)
    assert torch.allclose(states, more[..., : given.shape[1]], atol=1e-5)
    assert not more[..., given.shape[1] :].any()
    assert torch.allclose(made.taught(given, wanted), made.taught(longer, wanted), atol=1e-5)
    assert torch.allclose(made(given), made(longer), atol=1e-5)


@torch.no_grad()
def test_a_string_alone_is_answered_as_among_others():
    made = network(end_bias=0.5)
    together = written_by(made, code_points(STRINGS))
    alone = [written_by(made, code_points([text]))[0] for text in STRINGS]
    assert together == alone
    assert len(set(together)) > 1


@torch.no_grad()
def test_padding_of_what_is_wanted_never_matters():
    made, given = network(), code_points(STRINGS[:1])
    wanted = code_points(["012"])
    longer = made.taught(given, F.pad(wanted, (0, 5)))
    assert torch.allclose(made.taught(given, wanted), longer[:, :4], atol=1e-5)


@torch.no_grad()
def test_what_is_given_matters():
    made, wanted = network(), code_points(["012"])
    one, other = (made.taught(code_points([text]), wanted) for text in ("fade", "edaf"))
    assert not torch.allclose(one, other, atol=1e-3)


@torch.no_grad()
def test_teacher_forcing_equals_scoring_step_by_step():
    made, given = network(), code_points(STRINGS)
    wanted = code_points(["01230", "3-", "", "-"])
    at_once = made.taught(given, wanted)
    memory = made.backbone(given)[:, :, 0].transpose(1, 2)
    begun = F.pad(numbers(wanted, made.head.alphabet), (1, 0), value=BEGIN)
    for count in range(1, begun.shape[1] + 1):
        last = made.head(begun[:, :count], memory, given > 0)[:, -1]
        assert torch.allclose(at_once[:, count - 1], last, atol=1e-5)


@torch.no_grad()
def test_what_it_writes_is_the_likeliest_character_each_time():
    made, given = network(end_bias=0.5), code_points(STRINGS)
    said = made(given)
    for row, text in enumerate(written_by(made, given)):
        logits = made.taught(given[row : row + 1], code_points([text]))[0].double()
        logits[:, [PAD, BEGIN]] = -torch.inf
        count = min(len(text) + 1, LONGEST + 1)
        best, number = logits[:count].log_softmax(1).max(1)
        right = [*numbers(code_points([text]), made.head.alphabet)[0].tolist(), END]
        assert number.tolist() == right[:count]
        assert torch.allclose(said[row, :count, 1], best, atol=1e-5)


@torch.no_grad()
def test_after_the_end_there_are_zeros():
    made = network(end_bias=0.5)
    said = made(code_points(STRINGS))
    lengths = (said[..., 0] > 0).sum(1)
    assert 0 < lengths.min() < lengths.max()  # they do not all end at once
    assert said.shape[1] <= LONGEST + 1
    for row, length in zip(said, lengths, strict=True):
        assert (row[:length, 0] > 0).all()
        assert not row[length:, 0].any()
        assert not row[length + 1 :, 1].any()  # the end itself has a probability
        assert (row[: length + 1, 1] < 0).all()


@torch.no_grad()
def test_who_says_the_end_at_once_writes_nothing():
    said = network(end_bias=1e4)(code_points(STRINGS))
    assert said.shape == (len(STRINGS), 1, 2)
    assert not said.any()


@torch.no_grad()
def test_who_never_ends_is_stopped():
    said = network(end_bias=-1e4)(code_points(STRINGS))
    assert said.shape == (len(STRINGS), LONGEST + 1, 2)
    assert (said[..., 0] > 0).all()


@torch.no_grad()
def test_only_characters_of_the_alphabet_are_written():
    assert set("".join(written_by(network(), code_points(STRINGS)))) <= set(WRITTEN)


@torch.no_grad()
def test_strangers_are_all_alike_and_say_nothing_but_their_place():
    made = network()
    one, other = (made.backbone(code_points([text])) for text in ("aXb", "a日b"))
    assert torch.equal(one, other)
    assert not torch.allclose(one, made.backbone(code_points(["acb"])), atol=1e-3)
    assert not TokenEncoder(3).embedding.weight[PAD].any()
    assert made(code_points(["XYZ"])).isfinite().all()


def test_numbers_begin_after_the_symbols_of_every_alphabet():
    points = code_points(["acz", "b"])
    assert numbers(points, alphabet("abc")).tolist() == [[3, 5, 0], [4, 0, 0]]


@torch.no_grad()
def test_alphabets_travel_with_the_weights():
    made = network()
    again = EncoderDecoder(TokenEncoder(len(GIVEN)), TokenDecoder(len(WRITTEN)), LONGEST).eval()
    again.load_state_dict(made.state_dict())
    given = code_points(STRINGS)
    assert torch.equal(again(given), made(given))
    assert torch.equal(again.backbone.alphabet, alphabet(GIVEN))
    assert torch.equal(again.head.alphabet, alphabet(WRITTEN))


def test_gradients_reach_every_weight():
    made = network()
    logits = made.taught(code_points(STRINGS), code_points(["0123-", "3", "-1", "20"]))
    logits.sin().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())
    # A padded place looks at others, but nothing looks at it.
    assert not made.backbone.embedding.weight.grad[PAD].any()


def into(theirs: nn.MultiheadAttention, ours: Attention) -> None:
    theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
    theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


@torch.no_grad()
def test_a_block_of_the_decoder_equals_pytorchs():
    block = CrossBlock(WIDTH, HEADS, 0.0)
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, F.gelu, batch_first=True, norm_first=True
    )
    into(theirs.self_attn, block.attention)
    into(theirs.multihead_attn, block.across)
    norm, widen, _, narrow = block.feed_forward
    pairs = [(block.norm, theirs.norm1), (block.norm_across, theirs.norm2), (norm, theirs.norm3)]
    for ours, own in [*pairs, (widen, theirs.linear1), (narrow, theirs.linear2)]:
        for mine, other in zip(ours.parameters(), own.parameters(), strict=True):
            other.copy_(mine.add_(0.1 * torch.randn_like(mine)))
    x, memory = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    given = torch.arange(7)[None] < torch.tensor([[7], [3]])
    expected = theirs(x, memory, tgt_mask=~causal, memory_key_padding_mask=~given)
    assert torch.allclose(block(x, memory, causal, given[:, None, None]), expected, atol=1e-5)


@pytest.mark.parametrize("text", ["a", "abcdefgh" * 20])
@torch.no_grad()
def test_strings_of_any_length_are_read(text):
    states = network().backbone(code_points([text]))
    assert states.shape == (1, WIDTH, 1, len(text))
    assert states.isfinite().all()


def test_it_learns_to_write_what_it_is_given():
    made = network().train()
    given, wanted = code_points(["ab", "c", "hg"]), code_points(["01", "-", "32"])
    parameters = list(made.parameters())
    for _ in range(40):
        logits = made.taught(given, wanted)
        aim = F.pad(numbers(wanted, made.head.alphabet), (0, 1), value=PAD)
        aim[torch.arange(3), (wanted > 0).sum(1)] = END
        loss = F.cross_entropy(logits.transpose(1, 2), aim, ignore_index=PAD)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.05 * gradient
    assert written_by(made.eval(), given) == ["01", "-", "32"]
