"""What DQ-SSTN learns from: episodes that fill the replay memory, and minibatches drawn from it.

F. Azimi (2024), section 5.5.1, Algorithm 2, corrected: the bootstrap is masked at the last step, and the network inside
the maximum is the target network. Unusual: classifier and Q-network learn in one update, which is the same as two,
since no loss has a gradient in both; and a mirrored training image is a matrix like any other view.

The control that the thesis lacks is here as well: a classifier that learns from views after random moves.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data.scene_batch import SceneBatch, flip_horizontally
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.dq_config import DQConfig
from course_lib.methods.spatial_transformer.dq_data import SalientImages
from course_lib.methods.spatial_transformer.dq_network import DQLearner
from course_lib.methods.spatial_transformer.environment import SpatialTransformerEnv
from course_lib.methods.spatial_transformer.exploration import epsilon_greedy
from course_lib.methods.spatial_transformer.geometry import compose, compose_sequence, identity, view
from course_lib.methods.spatial_transformer.q_learning import Transitions, q_losses
from course_lib.methods.spatial_transformer.rewards import NEEDS_CLASSIFIER, RewardName
from course_lib.training.samples import epoch_order

# What a classifier without an agent learns from: the image as it is, or as random moves leave it.
RandomViews = Literal["none", "full", "any_length"]


class _SalientTask:
    """What both tasks share: training images by number, and their mirroring."""

    def __init__(self, config: DQConfig, images: SalientImages, seed: int) -> None:
        self.config, self.images, self.seed = config, images, seed

    def sample(self, index: int, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The number of an image, whose pixels are on the device already, and whether it is mirrored this time."""
        flip = self.config.flip and rng.random() < 0.5
        return {"index": torch.tensor(epoch_order(index, len(self.images), self.seed)), "flip": torch.tensor(flip)}

    def _scenes(self, batch: Mapping[str, Tensor]) -> SceneBatch:
        if self.images.pixels.device != batch["index"].device:
            self.images = self.images.to(batch["index"].device)
        return flip_horizontally(self.images.take(batch["index"]), batch["flip"])


class ClassifierTask(_SalientTask):
    """Training of a classifier alone (`course_lib.training.Task`).

    views  "none": images as they are; "full": after as many random moves as an episode has; "any_length": after 0 to
           as many, all equally likely. The last two are what exploration alone would do for the classifier
    """

    def __init__(self, config: DQConfig, images: SalientImages, seed: int, views: RandomViews = "none") -> None:
        super().__init__(config, images, seed)
        self.views, self.moves = views, config.actions()

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy of the largest object's class, [B]."""
        scenes = self._scenes(batch)
        images = scenes.images
        if self.views != "none":
            self.moves = self.moves.to(images.device)
            images = view(images, random_matrices(self.moves, len(images), self.config.episode_length, self.views))
        return {"loss": F.cross_entropy(model(images), scenes.labels, reduction="none")}


def random_matrices(moves: ActionSet, n: int, steps: int, views: RandomViews) -> Float[Tensor, "n 3 3"]:
    """Matrices of the views after random moves: `steps` of them ("full"), or any number from 0 on ("any_length")."""
    device = moves.matrices.device
    matrices = moves.matrices[torch.randint(len(moves), (n, steps), device=device)]  # [N, T, 3, 3]
    if views == "any_length":
        length = torch.randint(steps + 1, (n, 1), device=device)
        over = torch.arange(steps, device=device) >= length  # [N, T]
        matrices = torch.where(over[..., None, None], torch.eye(3, device=device), matrices)
    return compose_sequence(matrices)


class AgentTask(_SalientTask):
    """Training of DQ-SSTN (`course_lib.training.Task`): Algorithm 2.

    reward                        what a move is paid for
    reward_weights, loss_weights  [N], what hard mining multiplies the rewards and the classifier's losses of each
                                  training image by; None is 1
    """

    def __init__(
        self, config: DQConfig, images: SalientImages, seed: int, reward: RewardName,
        reward_weights: Float[Tensor, "n"] | None = None, loss_weights: Float[Tensor, "n"] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, images, seed)
        for weights in (reward_weights, loss_weights):
            if weights is not None and weights.shape != (len(images),):
                raise InputError(f"hard mining takes one weight per image, [{len(images)}]; got {list(weights.shape)}")
        one = torch.ones(len(images))
        self.weights = torch.stack([one if w is None else w for w in (reward_weights, loss_weights)])  # [2, N]
        self.environment, self.reward = config.environment(reward), reward
        self.moves = self.environment.actions

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy on the last views, and Huber loss of transitions drawn from the memory; [B] each."""
        if not isinstance(model, DQLearner):
            raise InputError(f"this task trains a DQLearner, got {type(model).__name__}")
        if step % self.config.q.sync_every == 0:
            model.sync()
        scenes = self._scenes(batch)
        self.moves, self.weights = self.moves.to(scenes.images.device), self.weights.to(scenes.images.device)
        environment, earned = self._episodes(model, scenes, batch, step)
        classifier = F.cross_entropy(model.network.classifier(environment.views), scenes.labels, reduction="none")
        losses, errors = self._q_losses(model, len(scenes.labels))
        numbers = {"classifier": classifier.detach(), "q": losses.detach(), "q_error": errors.abs(), "return": earned}
        if environment.judgement.share is not None:
            numbers["share"] = environment.judgement.share
        return {"loss": self.weights[1, batch["index"]] * classifier + losses, **numbers}

    @torch.no_grad()
    def _episodes(
        self, model: DQLearner, scenes: SceneBatch, batch: Mapping[str, Tensor], step: int
    ) -> tuple[SpatialTransformerEnv, Float[Tensor, "b"]]:
        """Play an episode for each image, epsilon-greedily, into the memory. Returns its end and what it earned."""
        config, n = self.config, len(scenes.labels)
        judge = model.network.classifier if self.reward in NEEDS_CLASSIFIER else None
        environment = SpatialTransformerEnv(self.environment, judge)
        observation = environment.reset(scenes.images, scenes.labels, scenes.boxes)
        mirrored = identity(n, scenes.images.device)
        mirrored[:, 0, 0] = 1 - 2 * batch["flip"].float()
        earned = torch.zeros(n, device=scenes.images.device)
        for t in range(config.episode_length):
            moved = (step * config.episode_length + t) * config.batch_size  # single images, all processes together
            values = model.network.q_network(observation.images)
            actions = epsilon_greedy(values, config.exploration(moved))
            before = compose(mirrored, environment.matrices)
            observation, rewards, done = environment.step(actions)
            earned += rewards
            model.memory.add({
                "image": batch["index"], "matrix": before, "action": actions,
                "reward": self.weights[0, batch["index"]] * rewards,
                "done": torch.full((n,), done, device=rewards.device),
            })  # fmt: skip
        return environment, earned

    def _q_losses(self, model: DQLearner, n: int) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """Huber loss and error of `replay_batches` * n transitions, averaged to n numbers."""
        drawn = model.memory.sample(n * self.config.replay_batches)
        images = self.images.take(drawn["image"]).images
        after = compose(drawn["matrix"], self.moves.matrices[drawn["action"]])
        transitions = Transitions(
            view(images, drawn["matrix"]), drawn["action"], drawn["reward"], view(images, after), drawn["done"]
        )
        losses, errors = q_losses(model.network.q_network, model.target, transitions, self.config.q)
        return losses.view(n, -1).mean(dim=1), errors.view(n, -1).mean(dim=1)
