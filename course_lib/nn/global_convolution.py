"""Global convolution: a large window for the price of two thin strips.

Source: Peng et al., "Large Kernel Matters" (CVPR 2017); F. Azimi (2024), section 6.4. A k x 1 convolution followed by a
1 x k one, and the same in the other order, are added. Unusual: no non-linearity stands between the strips, so the block
is one linear k x k convolution whose kernel is a sum of two separable ones.
"""

from jaxtyping import Float
from torch import Tensor, nn

from course_lib.errors import InputError


class GlobalConvolution(nn.Module):
    """Features [B, inputs, h, w] to [B, outputs, h, w]; each output cell sees a window of kernel x kernel cells.

    mid     channels between the two strips of each path
    kernel  odd, so that the window has a middle

    Raises `InputError` for an even kernel. Built in lesson 05.
    """

    def __init__(self, inputs: int, outputs: int, mid: int, kernel: int = 7) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise InputError(f"the window of a global convolution needs a middle: kernel must be odd, got {kernel}")
        half = kernel // 2
        self.tall = nn.Conv2d(inputs, mid, (kernel, 1), padding=(half, 0))
        self.tall_wide = nn.Conv2d(mid, outputs, (1, kernel), padding=(0, half))
        self.wide = nn.Conv2d(inputs, mid, (1, kernel), padding=(0, half))
        self.wide_tall = nn.Conv2d(mid, outputs, (kernel, 1), padding=(half, 0))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return self.tall_wide(self.tall(x)) + self.wide_tall(self.wide(x))
