"""One episode from the first look to the last, for a whole batch of images; and what a trained agent then achieves.

Algorithm 1 of F. Azimi (2024), section 5.3.1, corrected: the classifier judges the view before and after each move.
Unusual: an episode leaves everything on the device it ran on, so no step waits for a GPU; and evaluation answers after
every step, not only after the last, because whether views become easier along the way is itself a claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.environment import SpatialTransformerEnv
from course_lib.methods.spatial_transformer.policies import Critic, Policy
from course_lib.methods.spatial_transformer.policy_gradient import Choice, Episode, choose


@dataclass(frozen=True)
class Rollout:
    """A batch of finished episodes of T moves. Index t of `losses`, `correct`, `matrices` and `views` is before move t,
    and T is after the last."""

    episode: Episode  # what `policy_gradient_losses` needs; carries the gradient to policy and critic
    actions: Int[Tensor, "b t"]
    logits: Float[Tensor, "b t a"]  # scores of all moves, without gradient; softmax makes probabilities
    losses: Float[Tensor, "b t1"] | None  # cross-entropy of the classifier on each view; None without classifier
    correct: Bool[Tensor, "b t1"] | None
    matrices: Float[Tensor, "b t1 3 3"]
    final: Float[Tensor, "b c h w"]  # the last views, on which the classifier learns
    views: Float[Tensor, "b t1 c h w"] | None  # all of them, if they were to be kept


def rollout(
    env: SpatialTransformerEnv,
    policy: Policy,
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, "b"] | None = None,
    boxes: Float[Tensor, "b 4"] | None = None,
    *,
    critic: Critic | None = None,
    greedy: bool = False,
    generator: torch.Generator | None = None,
    keep_views: bool = False,
) -> Rollout:
    """Let the policy move the view of each image until the episode is over.

    images, labels, boxes  as for `env.reset`
    critic      asked for the value of each view before the move; its values go into the episode
    greedy      take the likeliest move instead of drawing one
    generator   of the draws, on the device of the images; None takes PyTorch's own
    keep_views  keep all T + 1 views, for figures; training does not need them

    Gradients flow through the log-probabilities to the policy and through the values to the critic, and nowhere else:
    moves are drawn, views and rewards are made without gradient. Built in lesson 01.
    """
    observation = env.reset(images, labels, boxes)
    policy_memory = critic_memory = None  # a fresh one for each episode
    choices: list[Choice] = []
    values, rewards, logits_of = [], [], []
    matrices, judged = [env.matrices], [env.judgement]
    views = [env.views] if keep_views else []
    for _ in range(env.config.episode_length):
        logits, policy_memory = policy(*observation, policy_memory)  # [B, A]
        if critic is not None:
            value, critic_memory = critic(*observation, critic_memory)  # [B]
            values.append(value)
        choice = choose(logits, generator, greedy)
        observation, reward, _ = env.step(choice.actions)
        choices.append(choice)
        rewards.append(reward)
        logits_of.append(logits.detach())
        matrices.append(env.matrices)
        judged.append(env.judgement)
        if keep_views:
            views.append(env.views)
    return Rollout(
        Episode.from_steps(choices, rewards, values if critic is not None else None),
        torch.stack([choice.actions for choice in choices], dim=1),
        torch.stack(logits_of, dim=1),
        _over_time([j.loss for j in judged]),
        _over_time([j.correct for j in judged]),
        torch.stack(matrices, dim=1),
        env.views,
        torch.stack(views, dim=1) if keep_views else None,
    )


@dataclass(frozen=True)
class SearchScores:
    """What an agent achieved on N images in episodes of T moves; on the CPU."""

    correct: Bool[Tensor, "n t1"]  # whether the classifier is right about the view after t moves, t = 0 … T
    loss: Float[Tensor, "t1"]  # mean cross-entropy after t moves, in nats
    action_counts: Int[Tensor, "t a"]  # how often each move was made at each step; rows add up to N

    @property
    def accuracy(self) -> Float[Tensor, "t1"]:
        """Share of images answered rightly after t moves, in [0, 1]."""
        return self.correct.float().mean(dim=0)


@torch.no_grad()
def evaluate_policy(
    env: SpatialTransformerEnv,
    policy: Policy,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    greedy: bool = False,
    generator: torch.Generator | None = None,
) -> SearchScores:
    """Run an episode for every image and count.

    batches    pairs of images [B, C, H, W] in [0, 1] and labels [B], on the device of the policy
    greedy     take the likeliest moves; the source draws them, also for testing
    generator  of the draws, on that device

    Raises `InputError` if the environment has no classifier to judge by, or there is no image.
    """
    if env.classifier is None:
        raise InputError("accuracy needs a classifier to judge the views; give the environment one")
    correct, losses, counts = [], [], []
    for images, labels in batches:
        episodes = rollout(env, policy, images, labels, greedy=greedy, generator=generator)
        assert episodes.correct is not None and episodes.losses is not None  # there are a classifier and labels
        correct.append(episodes.correct)
        losses.append(episodes.losses.sum(dim=0))
        counts.append(env.actions.one_hot(episodes.actions).sum(dim=0))  # [T, A]
    if not correct:
        raise InputError("there are no images to evaluate the policy on")
    answers = torch.cat(correct).cpu()  # the first moment at which the device is waited for
    return SearchScores(
        answers, (torch.stack(losses).sum(dim=0) / len(answers)).cpu(), torch.stack(counts).sum(dim=0).long().cpu()
    )


def _over_time(numbers: list[Tensor | None]) -> Tensor | None:
    """Tensors [B] of T + 1 moments as [B, T + 1]; None if there are none."""
    there = [n for n in numbers if n is not None]
    return torch.stack(there, dim=1) if there else None
