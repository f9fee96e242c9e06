"""The world of an agent that looks for a good view: a batch of images, a set of moves, and a reward for each move.

The decision process of F. Azimi (2024), sections 5.3.1 and 5.5.1: the state is the current view (and the previous
move), every episode has the same fixed length, staying is a move. Unusual: the views of a whole batch are made at once,
by one sampling of the originals through composed matrices, and nothing in a step waits for the GPU; the literal way,
warping the view again and again, is a switch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer import rewards
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.geometry import clipped_share, compose, transport_boxes, true_iou, view
from course_lib.methods.spatial_transformer.rewards import RewardName

Sampling = Literal["compose", "resample"]
ShareKind = Literal["true_iou", "clipped_share"]
Classifier = Callable[[Tensor], Tensor]  # images [B, C, H, W] -> logits [B, classes]


@dataclass(frozen=True)
class EnvironmentConfig:
    """How an episode goes. Defaults are those of the cluttered digits; `salient()` those of salient objects."""

    actions: ActionSet = field(default_factory=ActionSet.search)
    episode_length: int = 40  # moves
    reward: RewardName = "loss_decrease"
    share: ShareKind = "true_iou"  # how much of the view the object fills, where boxes are given
    sampling: Sampling = "compose"  # "resample": warp the previous view, which blurs and forgets what left it
    loss_weight: float = 1.0  # of the two parts of "weighted_sum"
    share_weight: float = 0.8

    def __post_init__(self) -> None:
        for name, kinds in (("reward", RewardName), ("share", ShareKind), ("sampling", Sampling)):
            if getattr(self, name) not in get_args(kinds):
                raise InputError(f"{name} must be one of {', '.join(get_args(kinds))}; got {getattr(self, name)!r}")
        if self.episode_length < 1:
            raise InputError(f"an episode has at least one move, got episode_length={self.episode_length}")

    @classmethod
    def salient(
        cls, size: int = 224, episode_length: int = 10, reward: RewardName = "share_sign"
    ) -> "EnvironmentConfig":
        """Six moves, ten of them, paid by the sign of the change of the object's share."""
        return cls(ActionSet.salient(size), episode_length, reward)


class Observation(NamedTuple):
    """What an agent may look at: current views [B, C, H, W], and previous moves, one-hot [B, A], zeros at the start."""

    images: Float[Tensor, "b c h w"]
    previous: Float[Tensor, "b a"]


class Judgement(NamedTuple):
    """How good the current views are, [B] each, without gradient; None where nothing is there to tell."""

    loss: Float[Tensor, "b"] | None  # the classifier's cross-entropy
    correct: Bool[Tensor, "b"] | None  # whether its answer is the label
    share: Float[Tensor, "b"] | None  # of the view that the object fills, where boxes are given


class Step(NamedTuple):
    """What follows a move: the next observation, rewards [B], and whether the episode is over, for all images alike."""

    observation: Observation
    rewards: Float[Tensor, "b"]
    done: bool


class SpatialTransformerEnv:
    """A batch of episodes, in step with each other, on the device of the images.

        observation = env.reset(images, labels, boxes)
        observation, rewards, done = env.step(actions)

    classifier  any callable from images to logits, which may go on learning between episodes; it is asked without
                gradient, T + 1 times an episode, and a module is asked in evaluation mode. None if the reward is
                share_growth or share_sign.

    Afterwards and in between: `matrices` [B, 3, 3] of the current views, `judgement` of them, `steps` made. Raises
    `InputError` if the reward needs a classifier that is not there. Built in lesson 01.
    """

    def __init__(self, config: EnvironmentConfig, classifier: Classifier | None = None) -> None:
        if classifier is None and config.reward in rewards.NEEDS_CLASSIFIER:
            raise InputError(f"the reward {config.reward!r} asks a classifier; pass one, or choose a reward by share")
        self.config, self.classifier = config, classifier
        self.actions = config.actions
        self.steps = config.episode_length  # nothing to step through before the first reset

    def reset(
        self,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, "b"] | None = None,
        boxes: Float[Tensor, "b 4"] | None = None,
    ) -> Observation:
        """Begin an episode for each image.

        images  in [0, 1], on the device that everything then happens on
        labels  class numbers, needed with a classifier
        boxes   x0, y0, x1, y1 of the object in pixels; needed by rewards by share, else only for `judgement.share`

        Raises `InputError` if something that is needed is missing or of the wrong shape.
        """
        self._check(images, labels, boxes)
        self.originals, self.labels, self.boxes = images, labels, boxes
        self.views = images
        if self.actions.matrices.device != images.device:
            self.actions = self.config.actions.to(images.device)
        self.matrices = torch.eye(3, device=images.device).repeat(len(images), 1, 1)
        self.previous = torch.zeros(len(images), len(self.actions), device=images.device)
        self.steps = 0
        self.judgement = self._judge()
        return Observation(self.views, self.previous)

    def step(self, actions: Int[Tensor, "b"]) -> Step:
        """Make one move per image, given by its number. Raises `InputError` after the last step and on wrong actions.

        Numbers out of range are looked for on the CPU only, since a GPU would have to be waited for.
        """
        if self.steps >= self.config.episode_length:
            raise InputError(f"the episode is over after {self.config.episode_length} moves; call reset first")
        self._check_actions(actions)
        moves = self.actions.matrices[actions]  # [B, 3, 3]
        self.matrices = compose(self.matrices, moves)
        if self.config.sampling == "compose":
            self.views = view(self.originals, self.matrices)
        else:
            self.views = view(self.views, moves)
        self.previous = self.actions.one_hot(actions)
        self.steps += 1
        before, self.judgement = self.judgement, self._judge()
        done = self.steps == self.config.episode_length
        return Step(Observation(self.views, self.previous), self._reward(before, self.judgement), done)

    @torch.no_grad()
    def _judge(self) -> Judgement:
        loss: Tensor | None = None
        correct: Tensor | None = None
        share: Tensor | None = None
        if self.classifier is not None and self.labels is not None:
            logits = _asked_in_evaluation_mode(self.classifier, self.views)
            loss = F.cross_entropy(logits, self.labels, reduction="none")
            correct = logits.argmax(dim=1) == self.labels
        if self.boxes is not None:
            height, width = self.originals.shape[-2:]
            shown = transport_boxes(self.boxes, self.matrices, (height, width))
            measure = true_iou if self.config.share == "true_iou" else clipped_share
            share = measure(shown, (height, width))
        return Judgement(loss, correct, share)

    def _reward(self, before: Judgement, after: Judgement) -> Float[Tensor, "b"]:
        match self.config.reward:
            case "accuracy_change":
                return rewards.accuracy_change(*_both(before.correct, after.correct))
            case "negative_loss":
                return rewards.negative_loss(_both(before.loss, after.loss)[1])
            case "loss_decrease":
                return rewards.loss_decrease(*_both(before.loss, after.loss))
            case "share_growth":
                return rewards.share_growth(*_both(before.share, after.share))
            case "share_sign":
                return rewards.share_sign(*_both(before.share, after.share))
        return rewards.weighted_sum(
            rewards.loss_decrease(*_both(before.loss, after.loss)),
            rewards.share_sign(*_both(before.share, after.share)),
            self.config.loss_weight,
            self.config.share_weight,
        )

    def _check(self, images: Tensor, labels: Tensor | None, boxes: Tensor | None) -> None:
        if images.ndim != 4 or not images.is_floating_point() or 0 in images.shape:
            raise InputError(f"images must be [B, C, H, W] float in [0, 1], got {list(images.shape)} {images.dtype}")
        if self.classifier is not None and (labels is None or labels.shape != images.shape[:1]):
            came = "None" if labels is None else list(labels.shape)
            raise InputError(f"the classifier is judged by labels [{len(images)}], one per image; got {came}")
        if boxes is None and self.config.reward in rewards.NEEDS_BOXES:
            raise InputError(f"the reward {self.config.reward!r} needs the objects' boxes [{len(images)}, 4]; got None")
        if boxes is not None and boxes.shape != (len(images), 4):
            raise InputError(f"boxes must be [{len(images)}, 4], one per image, got {list(boxes.shape)}")
        for name, tensor in (("labels", labels), ("boxes", boxes)):
            if tensor is not None and tensor.device != images.device:
                raise InputError(f"{name} are on {tensor.device} and images on {images.device}; put both on one device")

    def _check_actions(self, actions: Tensor) -> None:
        if actions.shape != (len(self.originals),) or actions.dtype != torch.long:
            raise InputError(
                f"actions must be [{len(self.originals)}] int64, one each; got {list(actions.shape)}, {actions.dtype}"
            )
        if actions.device.type == "cpu" and not 0 <= int(actions.min()) <= int(actions.max()) < len(self.actions):
            raise InputError(
                f"actions are numbered 0 … {len(self.actions) - 1}, got {int(actions.min())} … {int(actions.max())}"
            )


def _both(before: Tensor | None, after: Tensor | None) -> tuple[Tensor, Tensor]:
    assert before is not None and after is not None  # the constructor and `reset` saw to it
    return before, after


def _asked_in_evaluation_mode(classifier: Classifier, images: Tensor) -> Tensor:
    """The classifier's logits; parts of a module that were training go on to, so that asking changes nothing in it."""
    if not (isinstance(classifier, nn.Module) and classifier.training):
        return classifier(images)
    training = [module for module in classifier.modules() if module.training]
    classifier.eval()
    try:
        return classifier(images)
    finally:
        for module in training:
            module.training = True
