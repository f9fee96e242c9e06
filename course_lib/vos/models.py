"""The methods that can be asked for by name. A new chapter adds one line to `MODELS`.

Unusual: the table holds the address of each loader as text and imports it when asked, so that the engine stays below
the methods that stand on it, and starting is quick.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from course_lib.errors import InputError, MissingDataError
from course_lib.nn.device import resolve_device
from course_lib.vos.protocol import VideoSegmenter


@dataclass(frozen=True)
class ModelEntry:
    """A name in `load_model`: what it is, and where `load(weights: Path | None, device: torch.device)` lives."""

    name: str
    loader: str  # "package.module:function"
    description: str


_PROPAGATION = "course_lib.methods.propagation.mask_flow"
_RECURRENT = "course_lib.methods.recurrent.load"
_SPACE_TIME = "course_lib.methods.space_time_memory.load"

MODELS = (
    ModelEntry("flow", f"{_PROPAGATION}:load_flow", "masks carried by optical flow, re-anchored; no training"),
    ModelEntry("flow-plain", f"{_PROPAGATION}:load_plain_flow", "masks carried by optical flow alone"),
    ModelEntry("stcn", f"{_SPACE_TIME}:load_stcn", "space-time memory, published size; needs --weights"),
    ModelEntry(
        "stcn-small",
        f"{_SPACE_TIME}:load_stcn_small",
        "its small sibling for CPUs, trained on DAVIS too; weights CC BY-NC 4.0, no commercial use",
    ),
    ModelEntry(
        "stcn-small-world",
        f"{_SPACE_TIME}:load_stcn_small_world",
        "the same, trained on the synthetic world alone; weights MIT",
    ),
    ModelEntry(
        "hs2s-lite",
        f"{_RECURRENT}:load_hs2s_lite",
        "recurrence and matching for real videos, trained on DAVIS too; weights CC BY-NC 4.0, no commercial use",
    ),
    ModelEntry("hs2s-small", f"{_RECURRENT}:load_hs2s", "recurrence and matching; has seen the small world alone"),
    ModelEntry("s2s-plus-plus-small", f"{_RECURRENT}:load_s2s_plus_plus", "recurrence at three scales; likewise"),
    ModelEntry("s2s-small", f"{_RECURRENT}:load_s2s", "recurrence at the bottleneck alone; likewise"),
    ModelEntry("copy", f"{_PROPAGATION}:load_copy", "the first mask, never moved"),
)


def load_model(name: str, weights: str | Path | None = None, device: str = "auto") -> VideoSegmenter:
    """The method called `name`, ready to `start` a video.

    weights  checkpoint file; None takes what ships with the method, where it has any
    device   "auto" (CUDA, else MPS, else CPU), "cuda", "cuda:1", "mps", "cpu"

    Raises `InputError` for an unknown name or device, `MissingDataError` if `weights` is not a file.
    """
    entry = next((entry for entry in MODELS if entry.name == name), None)
    if entry is None:
        names = [e.name for e in MODELS]
        near = get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        listed = "\n".join(f"  {e.name:<16} {e.description}" for e in MODELS)
        raise InputError(f"unknown model {name!r}{meant}\nmodels are\n{listed}")
    if weights is not None:
        weights = Path(weights).expanduser()
        if not weights.is_file():
            raise MissingDataError(
                f"there is no checkpoint {weights}; leave weights out to take what ships with {name!r}"
            )
    module, function = entry.loader.split(":")
    return getattr(import_module(module), function)(weights, resolve_device(device))
