"""A generator and a critic of one size, their losses, and the way from one latent to another."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from kenspeckle.errors import UsageError
from kenspeckle.models.gan import (
    EVERY,
    SIZES,
    Critic,
    Gan,
    Generator,
    critic_loss,
    generator_loss,
    interpolated,
    latents_of,
    penalties,
    penalty_is_due,
    signed,
)

LATENT = 8


def tiny(size: int = 28, channels: int = 1) -> Gan:
    return Gan(3, size, channels, latent=LATENT, width=4, critic_width=4)


def material(count: int = 4, size: int = 28, channels: int = 1) -> tuple[torch.Tensor, ...]:
    real = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8)
    return real, torch.randint(0, 3, (count,)), torch.randn(count, LATENT)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_is_drawn_and_scored(size, channels):
    gan = tiny(size, channels)
    images = gan.generator(torch.randn(2, LATENT), torch.tensor([0, 2]))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert gan.critic(images, torch.tensor([0, 2])).shape == (2,)


@pytest.mark.parametrize("network", [Generator, Critic])
@pytest.mark.parametrize(("size", "channels"), [(24, 1), (30, 1), (68, 1), (32, 4)])
def test_other_sizes_and_channels_are_refused(network, size, channels):
    with pytest.raises(UsageError):
        network(3, size, channels)


def test_drawn_images_are_bytes_over_the_whole_range():
    gan = tiny()
    with torch.no_grad():
        gan.generator.last.weight.mul_(1000)
    images = gan.draw(torch.randn(4, LATENT), torch.zeros(4, dtype=torch.int64))
    assert images.dtype == torch.uint8
    assert (images.min(), images.max()) == (0, 255)


def test_bytes_survive_the_way_to_the_critic_and_back():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal((127.5 * (signed(every) + 1)).round().to(torch.uint8), every)
    assert torch.allclose(signed(every), signed(every.float() / 255), atol=1e-6)


def test_class_and_latent_both_decide_the_image():
    gan = tiny().eval()
    latents, labels = torch.randn(2, LATENT), torch.tensor([0, 1])
    straight, swapped = gan.generator(latents, labels), gan.generator(latents, labels.flip(0))
    assert not torch.allclose(straight, swapped)
    assert not torch.allclose(straight, gan.generator(latents.flip(0), labels))


def test_the_critic_asks_for_the_class():
    gan, images = tiny(), torch.randn(3, 1, 28, 28)
    one, two = gan.critic(images, torch.zeros(3).long()), gan.critic(images, torch.ones(3).long())
    assert not torch.allclose(one, two)


def test_neither_network_lets_an_image_depend_on_the_rest_of_its_batch():
    gan = tiny()
    _, labels, latents = material()
    together = gan.generator(latents, labels)
    alone = gan.generator(latents[:1], labels[:1])
    assert torch.allclose(together[:1], alone, atol=1e-6)
    scores = gan.critic(together, labels)
    assert torch.allclose(scores[:1], gan.critic(alone, labels[:1]), atol=1e-6)


def test_a_critic_that_cannot_tell_costs_both_players_log_2():
    gan = tiny().eval()
    for weight in gan.critic.parameters():
        torch.nn.init.zeros_(weight)
    for loss in (critic_loss, generator_loss):
        assert torch.allclose(loss(gan, *material()), torch.full((4,), math.log(2)))


def test_the_critics_loss_is_that_of_the_definition():
    gan = tiny().eval()
    real, labels, latents = material()
    torch.manual_seed(1)
    with torch.no_grad():
        true_then_drawn = gan.augmented(signed(real)), gan.augmented(gan.generator(latents, labels))
        true, false = (gan.critic(images, labels) for images in true_then_drawn)
    torch.manual_seed(1)
    assert torch.allclose(
        critic_loss(gan, real, labels, latents), F.softplus(false - true), atol=1e-6
    )


def test_the_critics_loss_moves_only_the_critic_and_the_generators_only_the_generator():
    for loss, moved, still in (
        (critic_loss, "critic", "generator"),
        (generator_loss, "generator", "critic"),
    ):
        gan = tiny()
        loss(gan, *material()).mean().backward()
        assert all(p.grad is None for p in getattr(gan, still).parameters())
        assert all(p.grad is not None for p in getattr(gan, moved).parameters())


def test_the_generators_gradient_is_that_through_the_whole_critic():
    gan = tiny()
    real, labels, latents = material()
    torch.manual_seed(2)
    generator_loss(gan, real, labels, latents).mean().backward()
    quick = [p.grad.clone() for p in gan.generator.parameters()]
    gan.zero_grad()
    torch.manual_seed(2)
    false = gan.critic(gan.augmented(gan.generator(latents, labels)), labels)
    true = gan.critic(gan.augmented(signed(real)), labels)
    F.softplus(true - false).mean().backward()
    for one, p in zip(quick, gan.generator.parameters(), strict=True):
        assert torch.allclose(one, p.grad, atol=1e-6)


def test_the_penalty_of_a_plane_is_its_slope_squared():
    gan = tiny()
    gan.gamma = 3.0
    slope = torch.randn(1, 28, 28)

    class Plane(torch.nn.Module):
        def forward(self, images, labels):
            return (images * slope).sum((1, 2, 3)) + labels

    gan.critic = Plane()
    real, drawn = torch.randn(2, 4, 1, 28, 28)
    found = penalties(gan, real, drawn, torch.arange(4))
    assert torch.allclose(found, (3.0 * slope.square().sum()).expand(4))


def test_the_penalty_is_the_slope_that_small_steps_show():
    gan = tiny().double()
    real, drawn = torch.randn(2, 2, 1, 28, 28, dtype=torch.float64)
    labels = torch.tensor([0, 2])
    step, squares = 1e-5, torch.zeros(2, dtype=torch.float64)
    for images in (real, drawn):
        flat = torch.eye(784, dtype=torch.float64).view(784, 1, 28, 28) * step
        for row in range(2):
            ask = labels[row].expand(784)
            with torch.no_grad():
                up = gan.critic(images[row] + flat, ask)
                down = gan.critic(images[row] - flat, ask)
            squares[row] += ((up - down) / (2 * step)).square().sum()
    measured = penalties(gan.float(), real.float(), drawn.float(), labels)
    assert torch.allclose(measured.double(), gan.gamma / 2 * squares, rtol=1e-3)


def test_the_penalty_teaches_the_critic_and_stays_in_single_precision():
    gan = tiny()
    real, drawn = torch.randn(2, 4, 1, 28, 28)
    labels = torch.arange(4) % 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = penalties(gan, real, drawn, labels)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, penalties(gan, real, drawn, labels))
    inside.mean().backward()
    assert gan.critic.join.weight.grad.abs().sum() > 0


def test_both_players_see_images_changed_as_often_as_was_asked():
    images = torch.rand(400, 1, 28, 28) * 2 - 1
    for share in (0.0, 0.25):
        gan = Gan(3, 28, width=4, critic_width=4, augmented_share=share)
        is_changed = (gan.augmented(images) != images).flatten(1).any(1).float().mean()
        # Three changes, each made to a share of its own.
        assert float(is_changed) == pytest.approx(1 - (1 - share) ** 3, abs=0.08)


def test_losses_are_finite_in_bfloat16_too():
    gan = tiny()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss in (critic_loss, generator_loss):
            assert loss(gan, *material()).isfinite().all()


def test_penalties_are_due_in_one_update_of_eight():
    assert sum(penalty_is_due(update) for update in range(100 * EVERY)) == 100
    assert EVERY == 8


def test_the_penalty_is_added_eightfold_when_due_and_counted_in_the_weights():
    gan = tiny()
    arguments = material()
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(critic_loss(gan, *arguments).detach())
    assert int(gan.state_dict()["critic_updates"]) == 2
    torch.manual_seed(0)
    with torch.no_grad():
        real = gan.augmented(signed(arguments[0]))
        drawn = gan.augmented(gan.generator(arguments[2], arguments[1]))
    penalty = penalties(gan, real, drawn, arguments[1])
    assert torch.allclose(losses[0] - losses[1], 8 * penalty, rtol=1e-3, atol=1e-6)


def test_eval_mode_adds_no_penalty_and_counts_nothing():
    gan = tiny().eval()
    gan.gamma = 1e9
    assert critic_loss(gan, *material()).max() < 100
    assert int(gan.critic_updates) == 0


def test_a_seed_is_one_latent_whatever_is_drawn_beside_it():
    both = latents_of([4, 9], 64)
    assert torch.equal(both[1:], latents_of([9], 64))
    assert not torch.equal(both[0], both[1])
    assert latents_of([], 64).shape == (0, 64)


def test_latents_are_standard_normal():
    values = latents_of(range(1000), 64)
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.02


@given(st.floats(0.05, 6))
@settings(max_examples=20, deadline=None)
def test_truncation_bounds_every_number_and_keeps_their_order(truncation):
    free, cut = latents_of([3], 64)[0], latents_of([3], 64, truncation)[0]
    assert cut.abs().max() <= truncation
    assert torch.equal(free.argsort(), cut.argsort())
    assert torch.equal(free.sign(), cut.sign())


def test_truncated_latents_are_a_normal_distribution_cut_off():
    values = latents_of(range(1000), 64, 1.0)
    # The variance of a standard normal cut at +-1 is 1 - 2 phi(1) / (2 Phi(1) - 1) = .2911.
    assert abs(float(values.var()) - 0.2911) < 0.005


@pytest.mark.parametrize("truncation", [0.0, -1.0, math.nan])
def test_a_truncation_that_leaves_nothing_is_refused(truncation):
    with pytest.raises(UsageError):
        latents_of([0], 64, truncation)


@given(st.integers(0, 1000), st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_the_way_between_latents_is_even_and_stays_on_the_sphere(seed, count):
    a, b = latents_of([seed, seed + 1], 16).double()
    way = interpolated(a, b, count)
    assert torch.allclose(way[0], a)
    assert torch.allclose(way[-1], b)
    lengths = torch.linspace(float(a.norm()), float(b.norm()), count, dtype=torch.float64)
    assert torch.allclose(way.norm(dim=1), lengths)
    direction = F.normalize(way, dim=1)
    cosines = (direction[:-1] * direction[1:]).sum(1)
    assert torch.allclose(cosines, cosines[:1].expand_as(cosines), atol=1e-9)


def test_there_and_back_is_the_same_way():
    a, b = latents_of([0, 1], 16)
    assert torch.allclose(interpolated(a, b, 5), interpolated(b, a, 5).flip(0), atol=1e-6)


@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-4, 2e-3])
def test_latents_that_nearly_agree_have_a_way_too(gap):
    a = torch.tensor([1.0, 0.0])
    b = torch.tensor([math.cos(gap), math.sin(gap)])
    middle = interpolated(a, b, 3)[1]
    assert torch.allclose(middle, torch.tensor([math.cos(gap / 2), math.sin(gap / 2)]), atol=1e-6)


def test_opposite_latents_have_no_shortest_way():
    with pytest.raises(ValueError, match="opposite"):
        interpolated(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 0.0]), 3)


@pytest.mark.slow
def test_a_small_gan_learns_which_class_is_which():
    """Two classes, a bright left and a bright right half: after 80 updates they are drawn so."""
    torch.manual_seed(0)
    gan = Gan(2, 28, 1, latent=LATENT, width=8, critic_width=8)
    sides = {"critic": critic_loss, "generator": generator_loss}
    steps = {
        name: torch.optim.Adam(getattr(gan, name).parameters(), 2e-3, (0.0, 0.99)) for name in sides
    }
    for _ in range(80):
        labels = torch.randint(0, 2, (16,))
        real = torch.full((16, 1, 28, 28), 20, dtype=torch.uint8)
        real[labels == 0, :, :, :14] = 230
        real[labels == 1, :, :, 14:] = 230
        for name, loss in sides.items():
            steps[name].zero_grad()
            loss(gan, real, labels, torch.randn(16, LATENT)).mean().backward()
            steps[name].step()
    images = gan.draw(torch.randn(20, LATENT), torch.arange(20) % 2).float()
    lean = images[:, 0, :, :14].mean((1, 2)) - images[:, 0, :, 14:].mean((1, 2))
    assert (lean[0::2] > 50).all()
    assert (lean[1::2] < -50).all()
