"""The house has floors: a room imports its own floor and those below, never above, and importing does nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "course_lib"
FLOOR = {
    "errors": -1, "presets": -1, "environment": -1, "mathjax": -1, "lazy": -1,
    "data": 0, "metrics": 0, "nn": 0,
    "vos": 1, "training": 1, "viz": 1,
    "methods": 2,
    "commands": 3, "cli": 3, "lessons": 3, "claims": 3, "tasks": 3, "site": 3,
}  # fmt: skip
# What one method may take from another (everything else in methods/ stands alone).
METHOD_MAY_IMPORT = {("box_supervision", "space_time_memory"), ("local_memory", "propagation")}


def imports(path: Path) -> set[str]:
    """Dotted names under course_lib that a file imports, relative imports resolved."""
    found = set()
    package = ("course_lib", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return {name for name in found if name.startswith("course_lib.")}


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_room_imports_nothing_from_a_floor_above(path):
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if room == "__init__":
        return
    for name in imports(path):
        other = name.split(".")[1]
        if other in FLOOR:
            assert FLOOR[other] <= FLOOR[room], f"{path.name} ({room}) imports {name}, which is a floor above"


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").rglob("*.py")), ids=lambda path: path.stem)
def test_methods_stand_alone(path):
    parts = path.relative_to(PACKAGE / "methods").parts
    if len(parts) < 2:
        return
    for name in imports(path):
        words = name.split(".")
        if words[1] == "methods" and len(words) > 2 and words[2] != parts[0]:
            assert (parts[0], words[2]) in METHOD_MAY_IMPORT, f"{path} imports {name}"


def test_every_room_is_on_a_floor():
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in files()} - {"__init__"}
    assert rooms <= set(FLOOR), f"say in this test on which floor {rooms - set(FLOOR)} stands"


def test_importing_the_package_is_light():
    code = (
        "import sys, course_lib, course_lib.cli;"
        "heavy = {'torch', 'cv2', 'matplotlib', 'IPython', 'papermill'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_newcomer_names_load_lazily():
    import course_lib

    assert set(dir(course_lib)) == {"Clip", "__version__", "evaluate", "load_model", "segment_video"}
    for name in dir(course_lib):
        assert getattr(course_lib, name) is not None
    with pytest.raises(AttributeError, match="it offers Clip"):
        _ = course_lib.no_such_name
