"""The agent's networks: a policy that prefers moves, and a critic that foresees what is still to be earned.

F. Azimi (2024), section 5.3.1: LeNet on the current view alone, or LeNet with the previous move and an LSTM that
remembers the episode. Unusual: what goes into the state and whether there is a memory are two separate switches,
because the text changes both at once and cannot tell which of them helps; the memory is handed in and out, never kept
inside.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.networks import BodyConfig, ConvBody, Preset, Shape

Memory = tuple[Tensor, Tensor]  # hidden and cell state of the LSTM, [B, U] each


@dataclass(frozen=True)
class AgentConfig:
    """What an agent sees and remembers. Defaults are the published LeNet + LSTM agent."""

    body: BodyConfig = field(default_factory=BodyConfig)
    memory: int | None = 256  # units of the LSTM, which the text does not say; None: no memory
    previous_action: bool = True  # whether the previous move, one-hot, goes in beside the view

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < 1:
            raise InputError(f"memory must be at least 1 unit, or None for no LSTM, got {self.memory}")

    @classmethod
    def image_only(cls, preset: Preset = "published") -> "AgentConfig":
        """LeNet on the current view."""
        return cls(BodyConfig.lenet(preset), memory=None, previous_action=False)

    @classmethod
    def recurrent(cls, preset: Preset = "published") -> "AgentConfig":
        """LeNet and the previous move into an LSTM (256 units; small 64)."""
        return cls(BodyConfig.lenet(preset), memory=256 if preset == "published" else 64)

    @classmethod
    def action_only_memory(cls, preset: Preset = "published") -> "AgentConfig":
        """LeNet and the previous move without an LSTM: the comparison that the text does not make."""
        return replace(cls.recurrent(preset), memory=None)

    @classmethod
    def curriculum(cls, preset: Preset = "published") -> "AgentConfig":
        """Three convolutions and an LSTM on the views, as in section 5.4.3."""
        return replace(cls.recurrent(preset), body=BodyConfig.curriculum(preset))


class Agent(nn.Module):
    """Body, optional previous move, optional LSTM, linear layer: what policy and critic have in common.

    image     channels, height and width of a view
    n_actions how many moves there are (length of the one-hot previous move)
    outputs   numbers that come out

    One step: images [B, C, H, W], previous [B, A] (zeros before the first move) and memory (None at the start of an
    episode) give [B, outputs] and the memory after.
    """

    def __init__(self, config: AgentConfig, image: Shape, n_actions: int, outputs: int) -> None:
        super().__init__()
        self.config, self.n_actions = config, n_actions
        self.body = ConvBody(config.body, image)
        width = config.body.hidden + (n_actions if config.previous_action else 0)
        self.lstm = nn.LSTMCell(width, config.memory) if config.memory else None
        self.head = nn.Linear(config.memory or width, outputs)

    def forward(
        self, images: Float[Tensor, "b c h w"], previous: Float[Tensor, "b a"] | None, memory: Memory | None = None
    ) -> tuple[Float[Tensor, "b k"], Memory | None]:
        return self._answer(self.body(images), previous, memory)

    def unroll(
        self, images: Float[Tensor, "b t c h w"], previous: Float[Tensor, "b t a"] | None
    ) -> Float[Tensor, "b t *k"]:
        """A whole episode from its views: the same numbers as step by step, with one pass through the convolutions.

        previous[:, t] is the move that led to images[:, t]; previous[:, 0] is zero.
        """
        b, t = images.shape[:2]
        features = self.body(images.flatten(0, 1)).view(b, t, -1)  # [B, T, F]
        answers, memory = [], None
        for step in range(t):
            answer, memory = self._answer(features[:, step], None if previous is None else previous[:, step], memory)
            answers.append(answer)
        return torch.stack(answers, dim=1)

    def _answer(self, features: Tensor, previous: Tensor | None, memory: Memory | None) -> tuple[Tensor, Memory | None]:
        if self.config.previous_action:
            if previous is None or previous.shape != (len(features), self.n_actions):
                came = "None" if previous is None else list(previous.shape)
                raise InputError(
                    f"this agent sees its previous move, one-hot [{len(features)}, {self.n_actions}] (zeros before the "
                    f"first), got {came}"
                )
            features = torch.cat([features, previous.to(features.dtype)], dim=1)  # [B, F + A]
        if self.lstm is not None:
            memory = self.lstm(features, memory)
            features = memory[0]  # [B, U]
        return self.head(features), memory


class Policy(Agent):
    """Scores of the moves: `logits [B, A], memory = policy(images, previous, memory)`; softmax makes probabilities."""

    def __init__(self, config: AgentConfig, image: Shape, n_actions: int) -> None:
        super().__init__(config, image, n_actions, outputs=n_actions)


class Critic(Agent):
    """Expected reward to go: `values [B], memory = critic(images, previous, memory)`; no weights of the policy's."""

    def __init__(self, config: AgentConfig, image: Shape, n_actions: int) -> None:
        super().__init__(config, image, n_actions, outputs=1)

    def _answer(self, features: Tensor, previous: Tensor | None, memory: Memory | None) -> tuple[Tensor, Memory | None]:
        value, memory = super()._answer(features, previous, memory)
        return value[:, 0], memory
