"""House rules that a reviewer should not have to check by eye."""

import re
import subprocess
from pathlib import Path

import pytest

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
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path.suffix == ".py" and path.name != "__init__.py" and path.parts[len(ROOT.parts)] in {"course_lib", "benchmarks"}
        and not path.read_text(encoding="utf-8").lstrip().startswith('"""')
    ]  # fmt: skip
    assert not silent, "a module docstring says the idea of the file in two sentences"
