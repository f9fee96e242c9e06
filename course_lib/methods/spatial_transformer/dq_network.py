"""DQ-SSTN as modules: a Q-network that moves the view, a classifier of the last view, and what training needs beside.

F. Azimi (2024), section 5.5.1 and Algorithm 2. Unusual: target network and replay memory are parts of the module that
is trained, without gradient, so a run that is interrupted finds them in its checkpoint; and `play` takes images and
nothing else, so no box or label can leak into a test.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.methods.spatial_transformer.dq_config import DQConfig
from course_lib.methods.spatial_transformer.geometry import (
    clipped_share,
    compose,
    identity,
    transport_boxes,
    true_iou,
    view,
)
from course_lib.methods.spatial_transformer.networks import ConvNet, ResNet18
from course_lib.methods.spatial_transformer.replay import ReplayMemory
from course_lib.nn.device import device_of


def make_network(config: DQConfig, outputs: int) -> nn.Module:
    """Images [B, C, H, W] in [0, 1] -> [B, outputs]: the architecture of both classifier and Q-network."""
    return ResNet18(outputs) if config.body is None else ConvNet(config.body, config.image, outputs)


class SalientNetwork(nn.Module):
    """What a trained DQ-SSTN consists of: `q_network` (views to the worth of each move) and `classifier`."""

    def __init__(self, config: DQConfig) -> None:
        super().__init__()
        self.config = config
        self.classifier = make_network(config, config.classes)  # first, so that one random state gives all the same
        self.q_network = make_network(config, len(config.actions()))


class DQLearner(nn.Module):
    """A network in training, with its target network and its replay memory, both without gradient.

    Both are buffers or frozen weights: under `torchrun` all processes therefore draw from the first one's episodes.
    """

    def __init__(self, network: SalientNetwork) -> None:
        super().__init__()
        self.network = network
        self.target = deepcopy(network.q_network).requires_grad_(False)
        none = torch.zeros(1)
        example = {
            "image": none.long(),  # which training image
            "matrix": none.new_zeros(1, 3, 3),  # of the view before the move, a mirroring of the image included
            "action": none.long(),
            "reward": none,
            "done": none.bool(),
        }
        self.memory = ReplayMemory(network.config.replay, example)

    def sync(self) -> None:
        """Copy the Q-network, buffers included, to the target network."""
        self.target.load_state_dict(self.network.q_network.state_dict())


@dataclass(frozen=True)
class Played:
    """Greedy episodes of N images, T moves each; on the CPU. Index t of T + 1 is before move t, T after the last."""

    actions: Int[Tensor, "n t"]
    q_values: Float[Tensor, "n t a"]
    """Worth of each move, as the network sees it, before move t."""
    matrices: Float[Tensor, "n t1 3 3"]
    """Of the views."""
    logits: Float[Tensor, "n t1 k"]
    """Of the classifier on each view; it is trained on the last one only."""

    @property
    def predictions(self) -> Int[Tensor, "n"]:
        """The answer for each image: that on its last view."""
        return self.logits[:, -1].argmax(dim=1)


@torch.no_grad()
def play(network: SalientNetwork, images: Iterable[Tensor]) -> Played:
    """Let the agent make its best moves on images, without boxes, labels or chance.

    images  batches [B, C, H, W] in [0, 1], moved to the network's device

    The network is asked in evaluation mode and stays in it. Built in lesson 03.
    """
    network.eval()
    device = device_of(network)
    moves = network.config.actions().to(device)
    parts: list[list[Tensor]] = []
    for batch in images:
        originals = batch.to(device)
        matrix = identity(len(originals), device)
        views, matrices, logits = originals, [matrix], [network.classifier(originals)]
        actions, values = [], []
        for _ in range(network.config.episode_length):
            values.append(network.q_network(views))  # [B, A]
            actions.append(values[-1].argmax(dim=1))
            matrix = compose(matrix, moves.matrices[actions[-1]])
            views = view(originals, matrix)
            matrices.append(matrix)
            logits.append(network.classifier(views))
        parts.append([torch.stack(steps, dim=1) for steps in (actions, values, matrices, logits)])
    return Played(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


@torch.no_grad()
def answers(classifier: nn.Module, images: Iterable[Tensor]) -> Int[Tensor, "n"]:
    """The answer of a classifier for each image of batches [B, C, H, W] as they are; on the CPU."""
    classifier.eval()
    device = device_of(classifier)
    return torch.cat([classifier(batch.to(device)).argmax(dim=1) for batch in images]).cpu()


def shares(
    boxes: Float[Tensor, "n 4"], matrices: Float[Tensor, "n t1 3 3"], size: tuple[int, int], clipped: bool = False
) -> Float[Tensor, "n t1"]:
    """How much of each view its object fills, in [0, 1]: true IoU, or the share of the view inside the box if clipped.

    boxes x0, y0, x1, y1 in pixels of the original; size is its height and width.
    """
    n, steps = matrices.shape[:2]
    shown = transport_boxes(boxes.repeat_interleave(steps, dim=0), matrices.flatten(0, 1), size)  # [N * T1, 4]
    measure = clipped_share if clipped else true_iou
    return measure(shown, size).view(n, steps)
