"""House rules that a reviewer should not have to check by eye."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.training.cards import load_card
from course_lib.training.export import SHIPPED_BYTES

ROOT = Path(__file__).parent.parent
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".json", ".js", ".css", ".html", ".cff", ".ipynb"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_no_large_files():
    large = [path.name for path in tracked() if path.stat().st_size > 8 * 2**20]
    assert not large, f"files over 8 MB: {large}"


def test_weights_are_small_and_their_licence_is_in_the_readme():
    """Each checkpoint in the package has a card beside it; the README names it in the same line as its licence."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in tracked():
        if path.suffix != ".safetensors" or path.parent != ROOT / "course_lib" / "weights":
            continue
        assert path.stat().st_size <= SHIPPED_BYTES, f"{path.name} is too large to ship"
        card = load_card(path)
        named = [line for line in readme.splitlines() if f"`{path.name}`" in line]
        assert named and all(card.licence in line for line in named), f"{path.name} is {card.licence}: say so"
        for source in card.data:
            assert source.licence.split(";")[0] in readme, f"{path.name} learnt from {source.name} ({source.licence})"


def test_no_absolute_local_paths():
    pattern = re.compile(r"(?<![\w.])/(?:home|Users|work|root)/[a-z]")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path.suffix in TEXT
        if (match := pattern.search(path.read_text(encoding="utf-8", errors="replace")))
    ]
    assert not found


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_hold_names_and_versions_only(name):
    lines = (ROOT / name).read_text().split()
    assert lines and all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[\w.+!]+", line) for line in lines)


def test_every_python_file_says_what_it_is():
    rooms = {"course_lib", "benchmarks"}
    files = [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in rooms]
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.name != "__init__.py" and not path.read_text(encoding="utf-8").lstrip().startswith('"""')
    ]
    assert not silent, "a module docstring says the idea of the file in two sentences"


def test_style():
    ruff = shutil.which("ruff", path=Path(sys.executable).parent) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed (extra: dev)")
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        run = subprocess.run([ruff, *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-3000:]


def test_readme_tables_are_up_to_date():
    place = ROOT / "docs" / "refresh_readme.py"
    loader = importlib.util.spec_from_file_location("refresh_readme", place)
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert module.refreshed(text, ROOT) == text, "run `python docs/refresh_readme.py`"


def test_readme_links_and_pictures_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith("http")]
    assert len(targets) >= 4
    assert not [target for target in targets if not (ROOT / target).is_file()]
    assert all(len(alt) > 20 for alt in re.findall(r"!\[([^\]]*)\]", text)), "every picture has alt text"
