"""Spatial transformer network: one affine view per image, found by the gradient of the classifier's loss alone.

Jaderberg et al. (NeurIPS 2015) as used by F. Azimi (2024), section 5.3 and Table 5.1: all six numbers are free, and
Adam trains the localisation network and the classifier together. Unusual: the last layer starts with zero weights and
the identity for a bias, so that the classifier first sees the image as it is; a random start often looks away for good.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.methods.spatial_transformer.geometry import homogeneous, view
from course_lib.methods.spatial_transformer.networks import BodyConfig, ConvBody, Shape


class Localiser(nn.Module):
    """Images [B, C, H, W] to matrices [B, 3, 3] with six free numbers; the identity for all images at the start."""

    def __init__(self, config: BodyConfig, image: Shape) -> None:
        super().__init__()
        self.body = ConvBody(config, image)
        self.head = nn.Linear(config.hidden, 6)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 3"]:
        return homogeneous(self.head(self.body(images)).view(-1, 2, 3))


class STN(nn.Module):
    """A classifier that looks through a localiser: `logits = stn(images)`. Built in lesson 01."""

    def __init__(self, classifier: nn.Module, localiser: nn.Module) -> None:
        super().__init__()
        self.classifier, self.localiser = classifier, localiser

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.classifier(self.transform(images)[0])

    def transform(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b 3 3"]]:
        """The views that the classifier sees, and their matrices."""
        matrices = self.localiser(images)
        return view(images, matrices), matrices


def stn_loss(stn: STN, images: Float[Tensor, "b c h w"], labels: Int[Tensor, "b"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of what the classifier says about the views; labels [B] class numbers."""
    return F.cross_entropy(stn(images), labels)
