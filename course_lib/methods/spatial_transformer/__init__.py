"""Spatial transformers: one warp learnt by gradient, or many small ones by reinforcement. Lessons 01, 02 and 03.

The Gymnasium environments are in `gym_env`, which alone imports Gymnasium.
"""

from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.geometry import compose, view
from course_lib.methods.spatial_transformer.networks import BodyConfig, ConvNet, Mlp, ResNet18
from course_lib.methods.spatial_transformer.policies import AgentConfig, Critic, Policy
from course_lib.methods.spatial_transformer.stn import STN, Localiser, stn_loss

__all__ = [
    "STN", "ActionSet", "AgentConfig", "BodyConfig", "ConvNet", "Critic", "EnvironmentConfig", "Localiser", "Mlp",
    "Policy", "ResNet18", "SpatialTransformerEnv", "compose", "stn_loss", "view",
]  # fmt: skip
