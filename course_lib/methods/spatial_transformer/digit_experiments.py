"""The experiments behind the claims of lesson 01: two conditions, compared image by image on the same test images.

F. Azimi (2024), section 5.3. All systems learn from the same images in the same order, for the same number of updates,
with the same first classifier; what differs is named. Unusual: whether the agent makes images easier is also asked of
classifiers that begin anew, since the one that was trained with the agent knows no other views than the agent's.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System
from course_lib.methods.spatial_transformer.digit_parts import DigitImages
from course_lib.methods.spatial_transformer.digit_task import DigitNetwork, DigitTask
from course_lib.methods.spatial_transformer.digit_training import (
    TrainedSystem,
    fit_config,
    part_of,
    score,
    train_system,
)
from course_lib.methods.spatial_transformer.policy_gradient import Baseline, actor_loss, policy_gradient_losses
from course_lib.methods.spatial_transformer.rewards import RewardName
from course_lib.methods.spatial_transformer.rollout import rollout
from course_lib.training import LearningRate, fit

Preset = str | DigitTrainingConfig
Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]

_VIEWS_AT_ONCE = 250
_GRADIENTS = 40  # batches whose gradients are compared


def true_box_and_raw(preset: Preset, seed: int) -> Pair:
    """Right answers (0 or 1) [C] of the MLP on the true box, and of the MLP on raw images."""
    return _answers(preset, seed, System.truth()), _answers(preset, seed, System.plain())


def stn_and_plain(preset: Preset, seed: int) -> Pair:
    """Right answers of the MLP behind an STN, and of the MLP alone."""
    return _answers(preset, seed, System.stn()), _answers(preset, seed, System.plain())


def agent_and_plain(preset: Preset, seed: int) -> Pair:
    """Right answers of the MLP behind the recurrent actor-critic agent, and of the MLP alone."""
    return _answers(preset, seed, System.actor_critic()), _answers(preset, seed, System.plain())


def agent_and_stn(preset: Preset, seed: int) -> Pair:
    """Right answers of the MLP behind the recurrent actor-critic agent, and behind an STN."""
    return _answers(preset, seed, System.actor_critic()), _answers(preset, seed, System.stn())


def stn_and_image_only(preset: Preset, seed: int) -> Pair:
    """Right answers of the MLP behind an STN, and behind the agent that sees the view alone."""
    return _answers(preset, seed, System.stn()), _answers(preset, seed, System.image_only())


def recurrent_and_image_only(preset: Preset, seed: int) -> Pair:
    """Right answers with previous move and LSTM, and with the view alone; both by policy gradient."""
    return _answers(preset, seed, System.recurrent()), _answers(preset, seed, System.image_only())


def recurrent_and_previous_move(preset: Preset, seed: int) -> Pair:
    """Right answers with previous move and LSTM, and with the previous move alone; both by policy gradient."""
    return _answers(preset, seed, System.recurrent()), _answers(preset, seed, System.previous_move())


def critic_and_policy_gradient(preset: Preset, seed: int) -> Pair:
    """Right answers of the recurrent agent by actor-critic, and by policy gradient with the preset's baseline."""
    return _answers(preset, seed, System.actor_critic()), _answers(preset, seed, System.recurrent())


def noise_without_and_with_critic(preset: Preset, seed: int) -> Pair:
    """Squared distance of a batch's policy gradient from the mean gradient, [C] for C batches, in units of the mean
    such distance without a baseline: without a baseline, and with the critic's. Same agent, same episodes."""
    noise = gradient_noise(preset, seed, ("none", "critic"))
    return noise[0] / noise[0].mean(), noise[1] / noise[0].mean()


def loss_decrease_and_accuracy_change(preset: Preset, seed: int) -> Pair:
    """Right answers of the recurrent agent paid by the change of loss (r3), and by that of correctness (r1)."""
    return _paid_by(preset, seed, "loss_decrease"), _paid_by(preset, seed, "accuracy_change")


def loss_decrease_and_negative_loss(preset: Preset, seed: int) -> Pair:
    """Right answers of the recurrent agent paid by the change of loss (r3), and by the loss itself (r2)."""
    return _paid_by(preset, seed, "loss_decrease"), _paid_by(preset, seed, "negative_loss")


def accuracy_change_and_negative_loss(preset: Preset, seed: int) -> Pair:
    """Right answers of the recurrent agent paid by the change of correctness (r1), and by the loss itself (r2)."""
    return _paid_by(preset, seed, "accuracy_change"), _paid_by(preset, seed, "negative_loss")


def full_and_quarter_length(preset: Preset, seed: int) -> Pair:
    """Right answers of the recurrent agent with the preset's number of moves, and with a quarter of it."""
    return _long(preset, seed, 1), _long(preset, seed, 4)


def first_and_second_lengthening(preset: Preset, seed: int) -> Pair:
    """What doubling the number of moves changes in the answer to each image (-1, 0 or 1): from a quarter of the
    preset's moves to a half, and from a half to all."""
    quarter, half, full = (_long(preset, seed, share) for share in (4, 2, 1))
    return half - quarter, full - half


def last_and_first_view(preset: Preset, seed: int) -> Pair:
    """Right answers of the agent's own classifier after the last move, and before the first."""
    correct = trained(_config(preset), seed, System.actor_critic()).test.correct
    return _numbers(correct[:, -1]), _numbers(correct[:, 0])


def fresh_on_half_and_raw(preset: Preset, seed: int) -> Pair:
    """Right answers of a new MLP trained and tested on the agent's views halfway, and of one on raw images."""
    raw, half, _ = fresh_answers(_config(preset), seed)
    return half, raw


def fresh_on_last_and_half(preset: Preset, seed: int) -> Pair:
    """Right answers of a new MLP trained and tested on the agent's last views, and of one on those halfway."""
    _, half, last = fresh_answers(_config(preset), seed)
    return last, half


def claim_config(preset: str) -> DigitTrainingConfig:
    """The preset; cpu in half as many updates, so that eight agents for each of three random seeds take 45 minutes.

    With a shorter warm-up: in trials of this length, a classifier that already knew raw images led the agent to shift
    and stay instead of zooming. The rate falls late, in a step, since a cosine's early fall delays the take-off.
    """
    config = DigitTrainingConfig.preset(preset)
    if preset != "cpu":
        return config
    return replace(
        config, steps=2_000, warm_up=300, schedule=LearningRate("step", drops=(0.8,), gamma=0.2), evaluations=8
    )


@cache
def trained(config: DigitTrainingConfig, seed: int, system: System) -> TrainedSystem:
    """A trained system, once per process. Kept, so do not change what comes back."""
    return train_system(system, config, seed=seed, progress=False)


@cache
def fresh_answers(config: DigitTrainingConfig, seed: int) -> tuple[Float[np.ndarray, "c"], ...]:
    """Right answers [C] of three new classifiers, each trained and tested on the agent's views of one moment: before
    the first move, halfway, and after the last."""
    agent = trained(config, seed, System.actor_critic()).network
    moments = (0, config.episode_length // 2, config.episode_length)
    train = views_at(agent, part_of(config, "train", seed), moments)
    test = views_at(agent, part_of(config, "test", seed), moments)
    answers = []
    for learnt, asked in zip(train, test, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = DigitNetwork(System.plain(), config)
        settings = replace(fit_config(config, seed), best="", evaluate_every=0)
        fit(network, DigitTask(config, learnt, seed), settings, progress=False)
        answers.append(_numbers(score(network, asked).correct[:, 0]))
    return tuple(answers)


@torch.no_grad()
def views_at(agent: DigitNetwork, images: DigitImages, moments: Sequence[int]) -> list[DigitImages]:
    """What the agent sees of each image after so many moves, as bytes; moves are drawn from a random seed of its own.

    One set of images per moment, from one episode of each image; labels stay, boxes are those of the raw images.
    Raises `InputError` for a moment that the episode does not have.
    """
    last = agent.config.episode_length
    if any(not 0 <= moment <= last for moment in moments):
        raise InputError(f"an episode has the moments 0 … {last}, got {tuple(moments)}")
    device = next(agent.parameters()).device
    generator = torch.Generator(device).manual_seed(1)
    env, policy = agent.environment(), agent.agent_policy()
    seen: list[list[Tensor]] = [[] for _ in moments]
    for pixels, labels, _ in images.batches(_VIEWS_AT_ONCE):
        views = rollout(env, policy, pixels.to(device), labels.to(device), generator=generator, keep_views=True).views
        assert views is not None
        for store, moment in zip(seen, moments, strict=True):
            store.append((views[:, moment] * 255).round().byte().cpu())
    return [DigitImages(torch.cat(store), images.labels, images.boxes) for store in seen]


def gradient_noise(preset: Preset, seed: int, baselines: Sequence[Baseline]) -> list[Float[np.ndarray, "c"]]:
    """Squared distance of each batch's policy gradient from the mean over batches, one array [C] per baseline.

    The trained actor-critic agent searches each batch of training images once; every baseline judges these episodes.
    """
    config = _config(preset)
    network = trained(config, seed, System.actor_critic()).network
    images = part_of(config, "train", seed)
    policy, device = network.agent_policy(), next(network.parameters()).device
    weights = list(policy.parameters())
    generator = torch.Generator(device).manual_seed(2)
    gradients: list[list[Tensor]] = [[] for _ in baselines]
    for number in range(min(_GRADIENTS, len(images) // config.batch_size)):
        which = slice(number * config.batch_size, (number + 1) * config.batch_size)
        pixels, labels = (tensor.to(device) for tensor in images.take(which)[:2])
        episode = rollout(
            network.environment(), policy, pixels, labels, critic=network.critic, generator=generator
        ).episode
        for store, baseline in zip(gradients, baselines, strict=True):
            credit = policy_gradient_losses(episode, replace(config.estimator, baseline=baseline)).advantages
            slopes = torch.autograd.grad(actor_loss(episode.log_probs, credit), weights, retain_graph=True)
            store.append(torch.cat([slope.flatten() for slope in slopes]))  # [P]
    noise = []
    for store in gradients:
        together = torch.stack(store)  # [C, P]
        noise.append(_numbers((together - together.mean(dim=0)).square().sum(dim=1)))
    return noise


def _answers(preset: Preset, seed: int, system: System) -> Float[np.ndarray, "c"]:
    return _numbers(trained(_config(preset), seed, system).correct)


def _paid_by(preset: Preset, seed: int, reward: RewardName) -> Float[np.ndarray, "c"]:
    return _answers(replace(_config(preset), reward=reward), seed, System.recurrent())


def _long(preset: Preset, seed: int, share: int) -> Float[np.ndarray, "c"]:
    """Right answers with one in `share` of the preset's moves."""
    config = _config(preset)
    length = max(1, config.episode_length // share)
    return _answers(replace(config, episode_length=length), seed, System.recurrent())


def _config(preset: Preset) -> DigitTrainingConfig:
    return claim_config(preset) if isinstance(preset, str) else preset


def _numbers(values: Tensor) -> Float[np.ndarray, "c"]:
    return values.detach().cpu().double().numpy()
