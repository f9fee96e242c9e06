"""Drives in which one frame is not enough: a window that pans over a street, seen through noise or with glare on it.

Each frame has noise, or patches of glare, of its own, so what one frame hides its neighbours may show; and the window
pans in a direction that differs from clip to clip, so no fixed shift finds it there. Unusual: clips are kept clean and
spoilt when they are read, so training on single frames never sees the same noise twice, and both kinds of trouble can
be laid over the same clips.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from course_lib.data.atomic import atomic_path
from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.errors import InputError
from course_lib.nn.weights import read_state_dict

Trouble = Literal["noise", "glare"]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)


@dataclass(frozen=True)
class NoisyDrivesConfig:
    """Dials; lengths in pixels. Raises `InputError` out of range."""

    size: tuple[int, int] = (64, 128)
    """Height and width of the window."""
    street: tuple[int, int] = (128, 256)
    """Of the drive that the window pans over."""
    frames: int = 5
    frame_rate: float = 24.0
    pan: tuple[float, float] = (2.0, 6.0)
    """Pixels per frame, in any direction, on top of what moves in the street; it turns round at the border."""
    windows: int = 2
    """Clips cut out of each drive, each with a pan of its own: rendering costs far more than cutting."""
    noise: tuple[float, float] = (0.2, 0.4)
    """Trouble "noise": standard deviation for each value, one for the clip; colours are in [0, 1]."""
    patches: int = 2
    """Trouble "glare": bright rectangles in each frame, anywhere, and different ones in the next."""
    patch_height: tuple[int, int] = (10, 22)
    patch_width: tuple[int, int] = (14, 34)
    glare_noise: float = 0.05
    """Trouble "glare": standard deviation of the noise that comes with it."""

    def __post_init__(self) -> None:
        if min(self.frames, self.windows) < 1 or self.patches < 0 or self.frame_rate <= 0:
            raise InputError(f"expected frames, windows >= 1, patches >= 0 and frame_rate > 0, got {self}")
        if any(inner < 16 or inner > outer for inner, outer in zip(self.size, self.street)):
            raise InputError(
                f"a window of 16 pixels a side or more must fit into the street, got {self.size} in {self.street}"
            )
        for name in ("pan", "noise", "patch_height", "patch_width"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise InputError(f"{name} is a range from 0 up, in order; got {(low, high)}")
        if self.patch_height[1] > self.size[0] or self.patch_width[1] > self.size[1] or self.glare_noise < 0:
            raise InputError(f"patches of glare must fit into the window, and its noise be >= 0; got {self}")


@dataclass(frozen=True, eq=False)
class NoisyDrives:
    """Clean clips, and how to spoil them."""

    config: NoisyDrivesConfig
    frames: UInt8[Tensor, "n t 3 h w"]
    labels: UInt8[Tensor, "n t h w"]  # index into STREET_CLASSES; what is there, also under glare
    corners: Int[Tensor, "n t 2"]  # of the window in the street: row, column

    @property
    def class_names(self) -> tuple[str, ...]:
        return STREET_CLASSES

    def __len__(self) -> int:
        return len(self.frames)

    def spoilt(
        self, index: int, trouble: Trouble, rng: np.random.Generator, frames: slice = slice(None)
    ) -> Float[Tensor, "t 3 h w"]:
        """Some frames of a clip with noise or glare, in [0, 1]; all randomness comes from `rng`."""
        return spoil(self.frames[index, frames].float() / 255, trouble, self.config, rng)


def spoil(
    frames: Float[Tensor, "t 3 h w"], trouble: Trouble, config: NoisyDrivesConfig, rng: np.random.Generator
) -> Float[Tensor, "t 3 h w"]:
    """Lay noise or glare over frames in [0, 1]. Raises `InputError` for another kind of trouble."""
    if trouble not in TROUBLES:
        raise InputError(f"trouble must be one of {', '.join(TROUBLES)}; got {trouble!r}")
    frames = frames.clone()
    deviation = config.glare_noise
    if trouble == "noise":
        deviation = float(rng.uniform(*config.noise))
    else:
        height, width = frames.shape[-2:]
        for frame in frames:
            for _ in range(config.patches):
                h = int(rng.integers(config.patch_height[0], config.patch_height[1] + 1))
                w = int(rng.integers(config.patch_width[0], config.patch_width[1] + 1))
                y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
                frame[:, y : y + h, x : x + w] = float(rng.uniform(0.9, 1.0))
    grain = torch.from_numpy(rng.standard_normal(frames.shape, dtype=np.float32))
    return frames.add_(grain, alpha=deviation).clamp_(0, 1)


def pan_path(config: NoisyDrivesConfig, frames: int, rng: np.random.Generator) -> Int[np.ndarray, "t 2"]:
    """Corner (row, column) of the window in each frame: a straight way at an even speed, folded at the border."""
    room = np.array(config.street) - np.array(config.size)  # rows, columns
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*config.pan)
    step = speed * np.array([np.sin(heading), np.cos(heading)])
    path = rng.uniform(0, 1, 2) * room + step * np.arange(frames)[:, None]  # [T, 2]
    period = 2 * np.maximum(room, 1e-6)
    folded = np.mod(path, period)
    return np.rint(np.minimum(folded, period - folded)).astype(np.int64).clip(0, room)


def render_noisy_drives(config: NoisyDrivesConfig, drives: int, seed: int, progress: bool = False) -> NoisyDrives:
    """`config.windows` clips of each of `drives` drives; another seed gives other drives.

    About 0.15 seconds of one core for a drive of five frames.
    """
    if drives < 1:
        raise InputError(f"expected at least one drive, got {drives}")
    world = World(
        scenario(
            "driving", image_size=config.street, length=config.frames, frame_rate=config.frame_rate, stereo=False,
            dense_truth=False,
        )
    ).dataset(drives, seed)  # fmt: skip
    n, (height, width) = drives * config.windows, config.size
    frames = torch.empty(n, config.frames, 3, height, width, dtype=torch.uint8)
    labels = torch.empty(n, config.frames, height, width, dtype=torch.uint8)
    corners = torch.empty(n, config.frames, 2, dtype=torch.int64)
    for i in tqdm(range(n), desc="rendering drives", disable=not progress):
        if i % config.windows == 0:
            clip = world[i // config.windows]
        assert clip.semantic is not None  # the scenario has classes
        path = pan_path(config, config.frames, np.random.default_rng((seed, i)))
        corners[i] = torch.from_numpy(path)
        for t, (y, x) in enumerate(path.tolist()):
            frames[i, t] = clip.frames[t, :, y : y + height, x : x + width]
            labels[i, t] = clip.semantic[t, y : y + height, x : x + width]
    return NoisyDrives(config, frames, labels, corners)


def stored_noisy_drives(
    path: str | Path, config: NoisyDrivesConfig, drives: int, seed: int, progress: bool = False
) -> NoisyDrives:
    """What `render_noisy_drives` gives, from a file if it is there, else rendered and written to it.

    Raises `InputError` if the file was made with other settings or is damaged, `WriteError` if the disk refuses.
    """
    path = Path(path)
    made_with = json.dumps({**asdict(config), "drives": drives, "seed": seed}, sort_keys=True)
    if path.is_file():
        found = read_state_dict(path)
        with safe_open(path, framework="pt") as file:
            before = (file.metadata() or {}).get("made_with")
        if before != made_with:
            raise InputError(f"{path} was made with other settings: {before}; expected {made_with}. Use another file")
        return NoisyDrives(config, found["frames"], found["labels"], found["corners"])
    made = render_noisy_drives(config, drives, seed, progress)
    tensors = {"frames": made.frames, "labels": made.labels, "corners": made.corners}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"made_with": made_with})
    return made
