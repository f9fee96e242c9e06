"""The encoders of the recurrent family in one place: small ones, and the published trunks of table 6.12.

Source: F. Azimi (2024), sections 6.3.2, 6.4.2 and 6.5.3. Unusual: `Features` holds both the raw levels, for skip
connections, and the bottleneck features after a head, since HS2S uses the two side by side.
"""

from course_lib.methods.recurrent.encoders_axial import axial_deeplab_encoder
from course_lib.methods.recurrent.encoders_published import lite_encoder, resnet_encoder, vgg_encoder
from course_lib.methods.recurrent.encoders_small import SmallKind, small_encoder
from course_lib.methods.recurrent.masked_encoder import Features, MaskedEncoder

__all__ = [
    "Features", "MaskedEncoder", "SmallKind",
    "axial_deeplab_encoder", "lite_encoder", "resnet_encoder", "small_encoder", "vgg_encoder",
]  # fmt: skip
