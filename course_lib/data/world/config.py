"""The dials of the synthetic world, and named settings of them.

A clip is a pure function of (`WorldConfig`, seed); every dial has a unit and a range, and a value outside it is an
error, never clipped. `scenario(name)` gives the settings that the lessons share, so that their numbers can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from course_lib.errors import InputError

CORRUPTIONS = ("none", "gaussian_noise", "snow", "fog", "motion_blur")


@dataclass(frozen=True)
class WorldConfig:
    """What a synthetic video holds and how hard it is. Raises `InputError` on a value outside its range.

    Lengths are fractions of the shorter image side, speeds are such fractions per second; so a config means the same
    thing at every resolution, and halving `frame_rate` doubles the motion between frames. An object that is to hide or
    to leave moves as fast as doing so within the clip takes, also where `speed` is lower.
    """

    n_objects: int = 3  # labelled objects, 1 to 64, with ids 1..n
    size: float = 0.3  # larger side of a typical object; in a street, the height of a typical car
    speed: float = 0.35  # root-mean-square speed of an object along its path; in a street, 1 is a camera at 8 m/s
    occlusion: float = 0.0  # 0..1: share of object 1 that hides as it passes behind a panel; at 1 all, for >= 3 frames
    lookalikes: int = 0  # how many of the other objects are twins of object 1: same class, same texture
    clutter: float = 0.0  # 0..1: eight times this many unlabelled shapes lie behind the objects, some of them moving
    length: int = 24  # frames
    frame_rate: float = 24.0  # frames per second of world time
    corruption: Literal["none", "gaussian_noise", "snow", "fog", "motion_blur"] = "none"  # of the frames, not the truth
    severity: int = 0  # 1..5 with a corruption, 0 without
    height: int = 96  # pixels
    width: int = 96
    camera: float = 0.0  # root-mean-square speed of a wandering, slightly rolling and zooming camera
    leave: float = 0.0  # 0..1: share of the objects whose path leads out of the frame and back
    deformation: float = 0.0  # 0..1: how strongly objects bend and wobble while they move
    drift: float = 0.0  # 0..1: how far the texture of an object changes into another one over the clip
    light: float = 0.0  # 0..1: how strongly brightness and tint of the light change over the clip
    blur: float = 0.0  # 0..1: share of the frame interval during which the shutter is open
    classes: Literal["seen", "unseen", "all"] = "seen"  # which classes objects are drawn from
    photographs: bool = True  # photographs as backgrounds and cut-outs; False keeps to procedural shapes and textures
    stereo: bool = False  # also a right view, with disparity
    semantic: bool = False  # also a map of class labels
    dense_truth: bool = True  # flows and occlusion maps; without them rendering takes about half the time
    scene: Literal["open", "street"] = "open"  # objects before a backdrop, or a drive through a street

    def __post_init__(self) -> None:
        _check_types(self)
        _within(self, n_objects=(1, 64), size=(0.02, 1.5), speed=(0, 20), length=(1, 100_000), frame_rate=(0.1, 1000))
        _within(self, height=(16, 4096), width=(16, 4096), camera=(0, 2), severity=(0, 5))
        _within(self, occlusion=(0, 1), clutter=(0, 1), leave=(0, 1), deformation=(0, 1), drift=(0, 1), light=(0, 1))
        _within(self, blur=(0, 1), lookalikes=(0, self.n_objects - 1))
        if (self.corruption == "none") != (self.severity == 0):
            raise InputError(
                f"corruption {self.corruption!r} with severity {self.severity}: a corruption needs a severity of 1 to "
                "5, and severity 0 goes with corruption 'none'"
            )
        if self.occlusion and self.length < 8:
            raise InputError(
                f"occlusion needs a clip of 8 frames or more to pass behind a panel; length is {self.length}"
            )
        if self.occlusion and round(self.leave * self.n_objects) == self.n_objects:
            raise InputError(
                "object 1 passes behind a panel (occlusion > 0), so not all objects can leave; lower leave"
            )
        if self.scene == "street":
            _refuse_in_street(self, "occlusion", "leave", "camera", "clutter", "drift", "deformation")
            if self.classes != "seen":
                raise InputError(
                    f"classes={self.classes!r} has no meaning in a street: it holds cars, people and cyclists"
                )

    @property
    def shorter_side(self) -> int:
        """Pixels of the shorter image side, the unit of `size` and `speed`."""
        return min(self.height, self.width)


def _check_types(config: WorldConfig) -> None:
    choices = {
        "corruption": CORRUPTIONS,
        "classes": ("seen", "unseen", "all"),
        "scene": ("open", "street"),
    }
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in choices:
            if value not in choices[field.name]:
                raise InputError(f"{field.name} must be one of {', '.join(choices[field.name])}; got {value!r}")
        elif field.type is bool:
            if not isinstance(value, bool):
                raise InputError(f"{field.name} must be True or False; got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int if field.type is int else (int, float)):
            kind = "a whole number" if field.type is int else "a number"
            raise InputError(f"{field.name} must be {kind}; got {value!r}")


def _within(config: WorldConfig, **ranges: tuple[float, float]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not low <= value <= high:  # also catches nan
            hint = " (one less than n_objects)" if name == "lookalikes" else ""
            raise InputError(f"{name} must lie between {low} and {high}{hint}; got {value}")


def _refuse_in_street(config: WorldConfig, *dials: str) -> None:
    for name in dials:
        if getattr(config, name):
            raise InputError(
                f"{name}={getattr(config, name)} has no meaning in a street, where geometry decides it; leave it at 0"
            )


SCENARIOS: Mapping[str, WorldConfig] = MappingProxyType(
    {
        "easy": WorldConfig(n_objects=2, size=0.34, speed=0.25),
        "small": WorldConfig(n_objects=3, size=0.13, speed=0.25, camera=0.05, clutter=0.25),
        "occlusion": WorldConfig(n_objects=2, size=0.22, speed=0.5, occlusion=1.0, length=32, camera=0.03),
        "lookalikes": WorldConfig(n_objects=4, size=0.25, speed=0.5, lookalikes=3, clutter=0.25, deformation=0.2),
        "crowded": WorldConfig(n_objects=8, size=0.28, speed=0.4, clutter=0.5, camera=0.08, deformation=0.3),
        "fast": WorldConfig(n_objects=3, size=0.25, speed=2.0, camera=0.2, leave=0.34, blur=0.4),
        "long": WorldConfig(
            n_objects=4, size=0.25, speed=0.4, length=240, leave=0.5, camera=0.06, deformation=0.3, drift=0.8, light=0.6
        ),
        "corrupted": WorldConfig(n_objects=3, size=0.3, corruption="snow", severity=3, camera=0.05),
        "driving": WorldConfig(
            n_objects=6, size=0.22, speed=0.6, height=128, width=256, stereo=True, semantic=True, scene="street"
        ),
    }
)  # fmt: skip


def scenario(name: str, *, image_size: int | tuple[int, int] | None = None, **dials: Any) -> WorldConfig:
    """Settings by name, with any dial changed: `scenario("occlusion", length=40)`.

    `image_size` is the side of a square image or (height, width) in pixels.
    Raises `InputError` on an unknown name (and lists the known ones), an unknown dial or a value out of range.
    """
    if name not in SCENARIOS:
        raise InputError(f"unknown scenario {name!r}; there are {', '.join(SCENARIOS)}")
    known = {field.name for field in fields(WorldConfig)}
    unknown = sorted(set(dials) - known)
    if unknown:
        raise InputError(f"unknown dial {', '.join(unknown)}; the dials are {', '.join(sorted(known))}")
    if image_size is not None:
        if {"height", "width"} & set(dials):
            raise InputError("give image_size or height and width, not both")
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        dials = {**dials, "height": height, "width": width}
    return replace(SCENARIOS[name], **dials)
