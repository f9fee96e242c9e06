"""The experiments behind the claims of lesson 03 about DQ-SSTN itself: two conditions on the same test images.

F. Azimi (2024), section 5.5.2. A trained system is kept, so claims that share it pay for it once. Unusual: the agent is
also held against a classifier trained on random moves, which gets the same augmentation and no agent; and "the best of
the other rewards" is chosen on validation images, since the best of four on the test images would be too good.

Numbers come in groups of test images, each with the same mixture of sizes: one value of a claim is a mean over a group.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.dq_config import REWARDS, DQConfig
from course_lib.methods.spatial_transformer.dq_data import salient_parts
from course_lib.methods.spatial_transformer.dq_task import RandomViews
from course_lib.methods.spatial_transformer.dq_training import (
    ClassifierResult,
    DQResult,
    evaluate_agent,
    train_classifier,
    train_dq,
)
from course_lib.methods.spatial_transformer.hard_mining import HardMining
from course_lib.methods.spatial_transformer.rewards import RewardName
from course_lib.methods.spatial_transformer.salient import bin_of, equal_bins

Preset = str | DQConfig
Pair = tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]

GROUPS = 20
THIRDS = 3
PUBLISHED_REWARD: RewardName = "share_sign"  # the best row of Table 5.7

# Table 5.8, H1 to H4.
MINING = {
    "reward by inverse share": HardMining("reward", "inverse_share"),
    "loss by inverse share": HardMining("loss", "inverse_share"),
    "reward by baseline": HardMining("reward", "baseline"),
    "loss by baseline": HardMining("loss", "baseline"),
}


def plain(config: DQConfig, seed: int, views: RandomViews = "none") -> ClassifierResult:
    """A trained classifier, once per process. Kept, so do not change what comes back."""
    return _plain(config, seed, views)


def agent(
    config: DQConfig, seed: int, reward: RewardName = PUBLISHED_REWARD, mining: HardMining | None = None
) -> DQResult:
    """A trained DQ-SSTN, once per process. Kept, so do not change what comes back."""
    return _agent(config, seed, reward, mining)


def share_after_and_before(preset: Preset, seed: int) -> Pair:
    """Share of the frame that the largest object fills (true IoU), in points: after the last move, and before."""
    result = agent(config_of(preset), seed)
    group = groups_by_size(result.share_before)
    return group_means(result.share_after, group), group_means(result.share_before, group)


def agent_and_plain(preset: Preset, seed: int) -> Pair:
    """Top-1 in points: with the agent, and of the plain classifier trained with as many updates."""
    result = agent(config_of(preset), seed)
    group = groups_by_size(result.share_before)
    return group_means(result.correct, group), group_means(result.correct_before, group)


def gain_of_small_and_all(preset: Preset, seed: int) -> Pair:
    """What the agent adds to Top-1 in points: for the third of images with the smallest objects, and for all."""
    result = agent(config_of(preset), seed)
    group, share = groups_by_size(result.share_before), result.share_before
    gain = result.correct.double() - result.correct_before.double()
    small = bin_of(share, equal_bins(share, THIRDS)) == 0
    return group_means(gain[small], group[small]), group_means(gain, group)


def agent_and_random_moves(preset: Preset, seed: int) -> Pair:
    """Top-1 in points: with the agent, and of a classifier trained on views after random moves of any number."""
    config = config_of(preset)
    result = agent(config, seed)
    group = groups_by_size(result.share_before)
    return group_means(result.correct, group), group_means(plain(config, seed, "any_length").correct, group)


def sign_and_best_other_reward(preset: Preset, seed: int) -> Pair:
    """Top-1 in points: paid by the sign of the change of share, and by the best other reward on validation images."""
    config = config_of(preset)
    others = [agent(config, seed, reward) for reward in REWARDS if reward != PUBLISHED_REWARD]
    validation = salient_parts(config, seed)[1]
    scores = [evaluate_agent(other.network, validation).correct.double().mean().item() for other in others]
    best, result = others[int(np.argmax(scores))], agent(config, seed)
    group = groups_by_size(result.share_before)
    return group_means(result.correct, group), group_means(best.correct, group)


def sign_and_growth(preset: Preset, seed: int) -> Pair:
    """Top-1 in points: paid by the sign of the change of share, and by the change itself."""
    config = config_of(preset)
    result = agent(config, seed)
    group = groups_by_size(result.share_before)
    return group_means(result.correct, group), group_means(agent(config, seed, "share_growth").correct, group)


@dataclass(frozen=True)
class SystemRow:
    """One system on the test images of one random seed, in points."""

    system: str
    top1: float
    top2: float
    any: float
    share: float
    """True IoU of the largest object and the last view; of the image where there is no agent."""
    minutes: float


def control_rows(preset: Preset, seed: int = 0) -> list[SystemRow]:
    """Classifiers without an agent: plain, and trained on random moves, all of them or any number."""
    config = config_of(preset)
    names: dict[RandomViews, str] = {
        "none": "plain classifier", "full": "random moves, full length", "any_length": "random moves, any length",
    }  # fmt: skip
    return [_row(name, plain(config, seed, views)) for views, name in names.items()]


def reward_rows(preset: Preset, seed: int = 0, rewards: tuple[RewardName, ...] = REWARDS) -> list[SystemRow]:
    """DQ-SSTN with each reward, beside Table 5.7. About 75 seconds of one core for each at cpu."""
    return [_row(reward, agent(config_of(preset), seed, reward)) for reward in rewards]


def mining_rows(preset: Preset, seed: int = 0) -> list[SystemRow]:
    """DQ-SSTN without hard mining and with each of the four kinds, beside Table 5.8."""
    config = config_of(preset)
    mined = [_row(name, agent(config, seed, PUBLISHED_REWARD, mining)) for name, mining in MINING.items()]
    return [_row("no hard mining", agent(config, seed)), *mined]


def config_of(preset: Preset) -> DQConfig:
    """The config, or that of a preset's name."""
    return preset if isinstance(preset, DQConfig) else DQConfig.preset(preset)


def groups_by_size(share: Float[Tensor, "n"], groups: int = GROUPS, least: int = 12) -> Int[Tensor, "n"]:
    """Deal images to groups so that each has the same mixture of sizes: in order of share, one to each in turn.

    groups  fewer if a group would have less than `least` images; raises `InputError` if not even two are left
    """
    groups = min(groups, len(share) // least)
    if groups < 2:
        raise InputError(f"a spread needs at least two groups of {least} images, got {len(share)} images in all")
    rank = share.argsort(stable=True).argsort(stable=True)
    turn, place = rank // groups, rank % groups
    return torch.where(turn % 2 == 0, place, groups - 1 - place)  # to and fro, or the last would get larger ones


def group_means(values: Tensor, group: Int[Tensor, "n"]) -> Float[np.ndarray, "c"]:
    """Means of numbers in [0, 1] (or [-1, 1]) over each group, in points. Raises `InputError` for an empty group."""
    count = torch.bincount(group)
    if not (count > 0).all():
        raise InputError(f"a group without images has no mean; groups have {count.tolist()} images")
    return (100 * torch.bincount(group, weights=values.double()) / count).numpy()


@cache
def _plain(config: DQConfig, seed: int, views: RandomViews) -> ClassifierResult:
    return train_classifier(config, views, seed=seed, progress=False)


@cache
def _agent(config: DQConfig, seed: int, reward: RewardName, mining: HardMining | None) -> DQResult:
    return train_dq(config, reward, mining=mining, baseline=plain(config, seed), seed=seed, progress=False)


def _row(system: str, result: ClassifierResult | DQResult) -> SystemRow:
    top1, top2, anything = (100 * value for value in result.accepted.accuracies)
    share = result.share_after if isinstance(result, DQResult) else result.truth.share
    return SystemRow(system, top1, top2, anything, 100 * share.mean().item(), result.fit.minutes)
