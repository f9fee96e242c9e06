"""A system of the tables as one network and one loss: a classifier, and whatever shows it the image.

F. Azimi (2024), section 5.3.1 and Algorithm 1, corrected. Unusual: classifier, policy and critic are one module under
one Adam, which is the same as three, because no loss has a gradient in more than one of them: moves are drawn, the
reward is a number, and the classifier learns from a view that carries no gradient.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System
from course_lib.methods.spatial_transformer.digit_parts import DigitImages
from course_lib.methods.spatial_transformer.environment import SpatialTransformerEnv
from course_lib.methods.spatial_transformer.geometry import view
from course_lib.methods.spatial_transformer.networks import ConvNet, Mlp
from course_lib.methods.spatial_transformer.policies import Critic, Policy
from course_lib.methods.spatial_transformer.policy_gradient import policy_gradient_losses
from course_lib.methods.spatial_transformer.rollout import rollout
from course_lib.methods.spatial_transformer.stn import Localiser
from course_lib.training.samples import epoch_order

CLASSES = 10


class DigitNetwork(nn.Module):
    """The networks of a system: a classifier, and a localiser, or a policy, or a policy and a critic, or neither.

    system, config  which networks, and of what size; one random state gives all systems the same classifier
    """

    def __init__(self, system: System, config: DigitTrainingConfig) -> None:
        super().__init__()
        self.system, self.config = system, config
        self._search = config.environment()
        image, moves = config.image, len(self._search.actions)
        self.classifier = (
            Mlp(image, CLASSES, config.hidden) if system.classifier == "mlp" else ConvNet(config.body, image, CLASSES)
        )
        self.localiser = Localiser(config.body, image) if system.transform == "stn" else None
        agent = config.agent(system)
        self.policy = Policy(agent, image, moves) if system.transform == "agent" else None
        self.critic = Critic(agent, image, moves) if system.critic else None

    def environment(self) -> SpatialTransformerEnv:
        """Where this network's agent searches, judged by its classifier."""
        device = next(self.parameters()).device
        if self._search.actions.matrices.device != device:  # once, so that no update waits for a copy
            self._search = replace(self._search, actions=self._search.actions.to(device))
        return SpatialTransformerEnv(self._search, self.classifier)

    def agent_policy(self) -> Policy:
        """The policy. Raises `InputError` for a system without an agent."""
        if self.policy is None:
            raise InputError(f"{self.system.label!r} has no agent, so no policy")
        return self.policy

    def look(self, images: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b 4"]) -> Float[Tensor, "b c h w"]:
        """What the classifier gets to see in a system without an agent; `boxes` count for "truth" only."""
        match self.system.transform:
            case "none":
                return images
            case "truth":
                return view(images, box_matrices(boxes, (images.shape[-2], images.shape[-1])))
            case "stn":
                assert self.localiser is not None
                return view(images, self.localiser(images))
        raise InputError("an agent looks more than once; use `rollout`")


def box_matrices(boxes: Float[Tensor, "b 4"], size: tuple[int, int]) -> Float[Tensor, "b 3 3"]:
    """Matrices of the views that boxes (x0, y0, x1, y1 in pixels) fill, in images of height and width `size`."""
    height, width = size
    x0, y0, x1, y1 = boxes.unbind(-1)
    matrices = torch.zeros(len(boxes), 3, 3, device=boxes.device)
    matrices[:, 0, 0], matrices[:, 0, 2] = (x1 - x0) / width, (x0 + x1) / width - 1
    matrices[:, 1, 1], matrices[:, 1, 2] = (y1 - y0) / height, (y0 + y1) / height - 1
    matrices[:, 2, 2] = 1
    return matrices


class DigitTask:
    """Samples and losses of any system (`course_lib.training.Task`).

    images  those to learn from; they follow the first batch to its device and stay there
    """

    def __init__(self, config: DigitTrainingConfig, images: DigitImages, seed: int) -> None:
        self.config, self.images, self.seed = config, images, seed

    def sample(self, index: int, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Only the number of an image: the pixels are on the device already."""
        return {"index": torch.tensor(epoch_order(index, len(self.images), self.seed))}

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy of the classifier per image, and the losses of agent and critic, [B] each."""
        if not isinstance(model, DigitNetwork):
            raise InputError(f"this task trains a DigitNetwork, got {type(model).__name__}")
        if self.images.images.device != batch["index"].device:
            self.images = self.images.to(batch["index"].device)
        images, labels, boxes = self.images.take(batch["index"])
        if model.system.transform == "agent" and step >= self.config.warm_up:
            return self._search(model, images, labels)
        views = images if model.system.transform == "agent" else model.look(images, boxes)
        return {"loss": F.cross_entropy(model.classifier(views), labels, reduction="none")}

    def _search(self, model: DigitNetwork, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One episode for each image; policy, critic and classifier each learn from their own part of it."""
        episodes = rollout(model.environment(), model.agent_policy(), images, labels, critic=model.critic)
        agent = policy_gradient_losses(episodes.episode, self.config.estimator_of(model.system))
        classifier = F.cross_entropy(model.classifier(episodes.final), labels, reduction="none")  # [B]
        losses = {
            "loss": classifier + agent.total,  # the agent's losses are means over the batch already
            "classifier": classifier.detach(),
            "return": episodes.episode.rewards.sum(dim=1),
            "advantage_square": agent.advantages.square().mean(dim=1),
        }
        assert episodes.episode.entropies is not None
        losses["entropy"] = episodes.episode.entropies.detach().mean(dim=1)
        if agent.critic is not None:
            losses["critic"] = agent.critic.detach().expand(len(labels))
        return losses
