"""The experiments behind the claims of lesson 02: two schemes with the same images, first weights and updates.

F. Azimi (2024), section 5.4. Each classifier is trained once per random seed and kept, so claims that share one pay for
it once. Unusual: beside the trained agent's views there are those of an oracle and of random moves, which tell whether
a curriculum that does not help has a bad teacher or is a bad idea.
"""

from functools import cache
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.curriculum_schemes import CurriculumConfig, scheme
from course_lib.methods.spatial_transformer.curriculum_training import (
    CurriculumData,
    SchemeRun,
    classified,
    make_data,
    train_scheme,
)
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig
from course_lib.methods.spatial_transformer.digit_parts import DigitImages
from course_lib.methods.spatial_transformer.digit_weights import load_sstn
from course_lib.methods.spatial_transformer.policies import Policy
from course_lib.methods.spatial_transformer.trajectories import OraclePolicy, Trajectories, record, wander

Preset = str | CurriculumConfig
Pair = tuple[Float[np.ndarray, "g"], Float[np.ndarray, "g"]]
Teacher = Literal["agent", "oracle", "wanderer"]  # whose views the curriculum is made of

GROUPS = 20  # of test images: one accuracy each
_TEST_DRAWS = 500_000  # added to the random seed of episodes of test images


def dynamic_and_originals(preset: Preset, seed: int) -> Pair:
    """Accuracy in percent on groups of original test images: Dynamic Mixed-batch, and originals only."""
    return accuracies(preset, seed, "dynamic"), accuracies(preset, seed, "originals")


def incremental_and_originals(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, and originals only."""
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "originals")


def incremental_and_augmented(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, and originals with random affine views."""
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "augmented")


def incremental_and_dynamic(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, and Dynamic Mixed-batch."""
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "dynamic")


def dynamic_and_mixed(preset: Preset, seed: int) -> Pair:
    """The same for Dynamic Mixed-batch, and a fixed mix of 4 finished views in 64, the best published one."""
    return accuracies(preset, seed, "dynamic"), accuracies(preset, seed, "mixed 4")


def mixed_4_and_32(preset: Preset, seed: int) -> Pair:
    """The same for 4 finished views in every 64 images, and 32."""
    return accuracies(preset, seed, "mixed 4"), accuracies(preset, seed, "mixed 32")


def originals_and_processed(preset: Preset, seed: int) -> Pair:
    """The same for originals only, and finished views only."""
    return accuracies(preset, seed, "originals"), accuracies(preset, seed, "processed")


def linear_and_exponential(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty with the linear and with the exponential schedule."""
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "exponential")


def exponential_and_cosine(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty with the exponential and with the cosine schedule."""
    return accuracies(preset, seed, "exponential"), accuracies(preset, seed, "cosine")


def all_moves_and_one(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, from all T moves down, and from a single one."""
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "linear", longest=1)


def all_moves_and_half(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, from all T moves down, and from half of them."""
    half = max(1, config_of(preset).longest // 2)
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "linear", longest=half)


def oracle_and_originals(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, with an oracle's views, and originals only."""
    return accuracies(preset, seed, "linear", "oracle"), accuracies(preset, seed, "originals")


def oracle_and_agent(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, with an oracle's views, and with the trained agent's."""
    return accuracies(preset, seed, "linear", "oracle"), accuracies(preset, seed, "linear")


def agent_and_wanderer(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, with the trained agent's views, and with random moves."""
    return accuracies(preset, seed, "linear"), accuracies(preset, seed, "linear", "wanderer")


def wanderer_and_originals(preset: Preset, seed: int) -> Pair:
    """The same for Incremental Difficulty, linear, with random moves, and originals only."""
    return accuracies(preset, seed, "linear", "wanderer"), accuracies(preset, seed, "originals")


def finished_and_original_views(preset: Preset, seed: int) -> Pair:
    """How easy views are, as accuracy in percent on groups of test images of classifiers that began anew: trained and
    tested on the trained agent's finished views, and trained and tested on originals."""
    config = config_of(preset)
    finished = scheme_run(config, seed, "processed", "agent", None).classifier
    correct = classified(finished, data_of(config, seed).test, held_out_episodes(config, seed).after(config.longest))
    return _by_group(correct), accuracies(config, seed, "originals")


def accuracies(
    preset: Preset, seed: int, name: str, teacher: Teacher = "agent", longest: int | None = None
) -> Float[np.ndarray, "g"]:
    """Accuracy in percent on each group of original test images, of a classifier trained by a scheme.

    name, longest  as for `curriculum_schemes.scheme`
    teacher        whose views it is made of; of no account to schemes that show originals only

    Raises `MissingDataError` without the agent's weights where its views are wanted. Built in lesson 02.
    """
    return _by_group(scheme_run(config_of(preset), seed, name, teacher, longest).correct)


@cache
def scheme_run(
    config: CurriculumConfig, seed: int, name: str, teacher: Teacher = "agent", longest: int | None = None
) -> SchemeRun:
    """A classifier trained by a scheme, once per process. Kept, so do not change what comes back."""
    wanted = scheme(name, config, longest)
    episodes = train_episodes(config, seed, teacher) if wanted.curriculum.longest else ()
    return train_scheme(wanted, config, data_of(config, seed), episodes, seed)


@cache
def data_of(config: CurriculumConfig, seed: int) -> CurriculumData:
    """The images of a random seed, rendered once per process."""
    return make_data(config, seed)


@cache
def train_episodes(config: CurriculumConfig, seed: int, teacher: Teacher) -> tuple[Trajectories, ...]:
    """As many episodes of every training image as the config asks for, by one teacher.

    Raises `InputError` for another teacher.
    """
    if teacher not in get_args(Teacher):
        raise InputError(f"teacher must be one of {', '.join(get_args(Teacher))}; got {teacher!r}")
    images = data_of(config, seed).train
    moves = ActionSet.curriculum(config.clutter.canvas, config.shift)
    if teacher == "oracle":
        side = config.clutter.canvas
        return (OraclePolicy(moves, (side, side)).record(images.boxes, config.longest),)
    draws = range(seed * config.episodes, (seed + 1) * config.episodes)
    if teacher == "wanderer":
        return tuple(wander(len(images), moves, config.longest, draw) for draw in draws)
    return tuple(_by_agent(config, images, draw) for draw in draws)


@cache
def held_out_episodes(config: CurriculumConfig, seed: int) -> Trajectories:
    """The trained agent's episodes of the test images: to measure how easy its views are, never to test a scheme."""
    return _by_agent(config, data_of(config, seed).test, seed + _TEST_DRAWS)


def agent_of(config: CurriculumConfig) -> tuple[Policy, ActionSet]:
    """The trained agent and its moves. Raises `MissingDataError` without weights, `InputError` if they do not fit."""
    size = DigitTrainingConfig.preset(config.agent_preset)
    if size.clutter.canvas != config.clutter.canvas:
        raise InputError(
            f"an agent trained at preset {config.agent_preset!r} looks at images of {size.clutter.canvas} pixels, here "
            f"they have {config.clutter.canvas}; choose another agent_preset, and agent_weights made at it"
        )
    if config.agent_weights is None and config.agent_preset != "cpu":
        raise MissingDataError(
            f"the agents that ship were trained at preset 'cpu'; train one at {config.agent_preset!r} with "
            "course_lib.methods.spatial_transformer.digit_weights.train_sstn, and name its file as agent_weights"
        )
    network = load_sstn(config.agent, config.agent_weights, "auto", size)
    return network.agent_policy(), network.environment().actions


def config_of(preset: Preset) -> CurriculumConfig:
    """The config, or that of a preset's name."""
    return CurriculumConfig.preset(preset) if isinstance(preset, str) else preset


def _by_agent(config: CurriculumConfig, images: DigitImages, draws: int) -> Trajectories:
    policy, moves = agent_of(config)
    return record(policy, images.images, moves, config.longest, draws)


def _by_group(correct: Bool[Tensor, "n"]) -> Float[np.ndarray, "g"]:
    """Accuracy in percent of each group of neighbouring images; all groups are about equally large."""
    return np.array([100 * float(part.float().mean()) for part in torch.tensor_split(correct, GROUPS)])
