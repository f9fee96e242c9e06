"""What networks of the course have learnt from, as their cards name it: data, licence, and whom to cite.

One place, so that the same data carry the same licence in every card. Unusual: weights that a network begins with count
as data that it has seen.
"""

from course_lib.training.cards import TrainedOn

WORLD = TrainedOn(
    "the course's synthetic world",
    "MIT; photographs in it under the licences of scikit-image and scikit-learn",
    "see course_lib.data.world.photographs",
)
SMALL_WORLD = TrainedOn("the course's small world", "MIT", "drawn by the course")
DRIVING = TrainedOn("the course's synthetic world, scenario driving", "MIT", "drawn by the course")
NOISY_DRIVING = TrainedOn(
    "the course's synthetic world, scenario driving, with noise and glare", "MIT", "drawn by the course"
)
DAVIS = TrainedOn(
    "DAVIS", "CC BY-NC 4.0", "F. Perazzi et al., A Benchmark Dataset and Evaluation Methodology, CVPR 2016"
)
YOUTUBE_VOS = TrainedOn("YouTube-VOS", "CC BY 4.0", "N. Xu et al., YouTube-VOS, ECCV 2018")
CAMVID = TrainedOn(
    "CamVid",
    "research data, attribution",
    "G. Brostow, J. Fauqueur, R. Cipolla, Semantic object classes in video, 2009",
)
IMAGENET_LITE0 = TrainedOn(
    "ImageNet, through the weights of EfficientNet-Lite0", "Apache-2.0", "M. Tan and Q. Le, EfficientNet, ICML 2019"
)
IMAGENET_TORCHVISION = TrainedOn(
    "ImageNet, through the weights of torchvision", "BSD-3-Clause", "torchvision's authors"
)
