"""The web site: notebooks as they were executed, pages made from data, and the reference, built by Sphinx.

Everything is staged beside the output first, so the checkout stays clean; a file whose content did not change keeps its
time stamp, and Sphinx reads only what changed. Unusual: warnings are errors, and no page loads anything from a network.
"""

import html
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError, MissingDataError
from course_lib.mathjax import MATHJAX, mathjax_script

ROOMS = ("data", "metrics", "nn", "vos", "viz", "training", "methods", "claims", "lessons")


def build_site(root: Path, out: Path | None = None, fresh: bool = False) -> Path:
    """Build the web site of the checkout at `root`.

    out: folder of the pages [docs/_build/html]; fresh: forget what was built before. Returns its index.html.
    Raises `MissingDataError` without a checkout or without the packages of the `docs` extra, `CourseError` with
    Sphinx's messages if it warns about anything.
    """
    root = Path(root)
    if not (root / "docs" / "conf.py").is_file():
        raise MissingDataError(f"{root} has no docs/conf.py; build the site from a checkout of the course")
    out = Path(out) if out is not None else root / "docs" / "_build" / "html"
    work = out.parent / f"{out.name}.work"
    if fresh:
        for folder in (out, work):
            shutil.rmtree(folder, ignore_errors=True)
    source = work / "source"
    stage(root, source)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        work / "doctrees",
        source,
        out,
    ]
    run = subprocess.run([str(part) for part in command], cwd=root, capture_output=True, text=True, encoding="utf-8")
    if run.returncode:
        raise CourseError(f"Sphinx is not content with the site; each of its lines names a file:\n{run.stderr.strip()}")
    return out / "index.html"


def stage(root: Path, source: Path) -> None:
    """Bring together all that Sphinx reads: docs/, notebooks, generated pages, pictures, the mathematics script."""
    wanted: dict[Path, bytes] = {}
    for path in sorted((root / "docs").rglob("*")):
        relative = path.relative_to(root / "docs")
        if (
            path.is_file()
            and relative.parts[0] != "_build"
            and path.suffix in {".md", ".py", ".css", ".js", ".png", ".svg"}
        ):
            wanted[relative] = path.read_bytes()
    wanted[Path("_static") / MATHJAX] = mathjax_script().read_bytes()
    notebooks = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for path in notebooks:
        wanted[Path("notebooks") / path.name] = path.read_bytes()
    pages = {
        "lessons.md": lessons_page(root, [path.stem for path in notebooks]),
        "times.md": times_page(root),
        "claims.md": claims_page(root),
        "contributing.md": (root / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        **api_pages(Path(__file__).parent),
        **landing_pictures(),
    }
    wanted |= {Path(name): text.encode("utf-8") for name, text in pages.items()}
    _write_changed(source, wanted)


def _write_changed(folder: Path, wanted: Mapping[Path, bytes]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
        if path.is_file() and path.relative_to(folder) not in wanted:
            path.unlink()
    for relative, content in wanted.items():
        path = folder / relative
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def lessons_page(root: Path, built: Sequence[str]) -> str:
    """The table of lessons. built: names of the notebooks that the site shows."""
    from course_lib.lessons.header import duration, read_measured
    from course_lib.lessons.source import read_sources

    measured = read_measured(root)
    lines = ["# Lessons", "", "| lesson | promise | after | minutes |", "|---|---|---|---|"]
    for lesson in read_sources(root):
        manifest = lesson.manifest
        title = f"{manifest.lesson} · {_cell(manifest.title)}"
        if lesson.name in built:
            title = f"[{title}](notebooks/{lesson.name}.ipynb)"
        cost = measured.get(manifest.lesson, {}).get("cpu")
        needs = ", ".join(manifest.needs) or "–"
        lines.append(
            f"| {title} | {_cell(manifest.promise)} | {needs} | {duration(cost['seconds']) if cost else '–'} |"
        )
    lines += [
        "",
        "*after*: lessons to have done before. *minutes*: one run at preset `cpu` on two cores, without your thinking.",
    ]
    lines += ["", "```{toctree}", ":hidden:", *[f"notebooks/{name}" for name in built], "```"]
    return "\n".join(lines) + "\n"


def times_page(root: Path) -> str:
    """Measured seconds and memory per lesson and preset, and the last run of the course on this machine, if any."""
    from course_lib.lessons.header import read_measured

    lines = ["# Times", "", "What each lesson costs, measured; memory is the peak of all its processes together.", ""]
    measured = read_measured(root)
    if measured:
        lines += ["| lesson | preset | seconds | GB |", "|---|---|---|---|"]
        for lesson, presets in sorted(measured.items()):
            for preset, cost in presets.items():
                lines.append(f"| {lesson} | `{preset}` | {cost['seconds']:.0f} | {cost['gigabytes']:.1f} |")
    else:
        lines.append("Nothing has been recorded yet; `course run` measures.")
    summary = _read_json(root / "runs" / "course" / "summary.json")
    if summary and summary.get("lessons"):
        lines += [
            "",
            "## The last run on this machine",
            "",
            "| lesson | preset | seconds | GB | result |",
            "|---|---|---|---|---|",
        ]
        for run in summary["lessons"]:
            lines.append(
                f"| {run['lesson']} · {_cell(run['title'])} | `{run['preset']}` "
                f"| {run['seconds']:.1f} of {run['budget_seconds']:g} "
                f"| {run['gigabytes']:.2f} of {run['budget_gigabytes']:g} | {run['status']} |"
            )
        lines += ["", f"All together {summary['seconds']:.0f} s, at most {summary['peak_gigabytes']:.1f} GB."]
    return "\n".join(lines) + "\n"


def claims_page(root: Path) -> str:
    """The claims board."""
    from course_lib.claims import board_html, load_board

    board = board_html(load_board(root / "docs" / "claims.json")).replace("\n", " ")
    return (
        "# Claims board\n\n"
        "Each headline claim of the theses behind this course is tested here at small scale, over several seeds, "
        "paired. Experiment, rule and budget are fixed before the run; the verdict is decided by the 95 % bootstrap "
        "interval of the measured effect.\n\n"
        "*Holds*: the interval lies on the claimed side. *Does not hold here*: it lies on the other. *Inconclusive*: "
        "it contains zero.\n\n"
        f'<div class="course-board">{board}</div>\n'
    )


def api_pages(package: Path) -> dict[str, str]:
    """Reference pages, one per room, listing every module of it that has something public."""
    pages = {}
    for room in ROOMS:
        names = []
        for path in sorted((package / room).rglob("*.py")):
            parts = path.relative_to(package).with_suffix("").parts
            if not any(part.startswith("_") for part in parts):
                names.append(".".join(("course_lib", *parts)))
        if names:
            blocks = [
                f"## `{name.removeprefix(f'course_lib.{room}.')}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"
                for name in names
            ]
            pages[f"api/{room}.md"] = "\n".join([f"# course_lib.{room}\n", *blocks])
    listed = "\n".join(Path(name).stem for name in pages)
    pages["api/index.md"] = (
        f"# Reference\n\nWritten from the docstrings.\n\n```{{toctree}}\n:maxdepth: 1\n{listed}\n```\n"
    )
    return pages


def landing_pictures() -> dict[str, str]:
    """The player and the picture of the landing page, rendered from the synthetic world."""
    import torch

    from course_lib.data.synthetic import World, scenario
    from course_lib.viz.embed import encode_picture
    from course_lib.viz.overlay import overlay
    from course_lib.viz.player import player
    from course_lib.vos.aggregate import labels_from_probs
    from course_lib.vos.engine import segment
    from course_lib.vos.models import load_model

    clip = World(scenario("occlusion", image_size=128)).clip(6)
    assert clip.labels is not None  # the synthetic world knows them
    model = load_model("flow", device="cpu")
    run = segment(model, clip.frames, clip.labels[0])
    masks = torch.stack([labels_from_probs(probs, run.ids) for probs in run])
    hero = player(
        {"the truth": (clip.frames, clip.labels), "carried by optical flow": (clip.frames, masks)},
        fps=8,
        scale=3,
        alt="An object passes behind a panel. The mask carried by optical flow is lost there and does not come back.",
    )
    tiles = []
    for seed, name in enumerate(
        ("easy", "small", "occlusion", "lookalikes", "crowded", "fast", "corrupted", "driving")
    ):
        film = World(scenario(name, length=16)).clip(seed)
        assert film.labels is not None
        moment = 2 if name == "occlusion" else 8  # before the object is gone
        uri = encode_picture(overlay(film.frames[moment], film.labels[moment], scale=2), quality=80)
        alt = f"A frame of the scenario {name}, its objects coloured"
        tiles.append(
            f'<figure class="course-tile"><img src="{uri}" alt="{alt}">'
            f"<figcaption>{html.escape(name)}</figcaption></figure>"
        )
    return {
        "generated/hero.html": f'<div class="course-hero">{hero._repr_html_()}</div>',
        "generated/scenarios.html": f'<div class="course-tiles">{"".join(tiles)}</div>',
    }


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a run that never happened, or is being written


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
