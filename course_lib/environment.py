"""Creates the project's virtual environment, once: `.venv` with the course installed in it.

Runs before anything is installed, so it uses the standard library alone and even starts on an old Python, to say so.
A stamp file records what the environment was made from; while that has not changed, a second call returns at once.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
EXTRAS = "dev,docs,browser"


def venv_python(venv):
    """Path of the interpreter inside a virtual environment, on any operating system."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(root, constraints):
    """Hash of everything the environment depends on: this script, the project's metadata and the tested versions."""
    digest = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    for path in (Path(__file__), root / "pyproject.toml", root / constraints):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_python():
    """An interpreter that is new enough: this one, else one on the PATH. Exits with advice if there is none."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return sys.executable
    for name in ("python3.12", "python3.11", "python3.13", "python3", "python"):
        path = shutil.which(name)
        if path:
            asked = subprocess.run(
                [path, "-c", "import sys; print(sys.version_info[:2] >= (3, 11))"],
                stdout=subprocess.PIPE,
                text=True,
            )
            if asked.stdout.strip() == "True":
                return path
    sys.exit(
        "setup: Python {}.{} or newer is needed, this is {}. Then `make setup PYTHON=python3.12`.".format(
            *OLDEST_PYTHON, sys.version.split()[0]
        )
    )


def run(command):
    """Run a step of the installation; on failure exit with what failed and what to do."""
    outcome = subprocess.run([str(part) for part in command])
    if outcome.returncode:
        sys.exit(
            "setup: this step failed: {}\nNothing is lost: fix the cause above and run setup again, "
            "it goes on from here.".format(" ".join(map(str, command)))
        )


def make_venv(python, venv):
    """A fresh virtual environment, unless a working one is there already."""
    inside = venv_python(venv)
    if inside.exists() and subprocess.run([str(inside), "-c", "import pip"]).returncode == 0:
        return
    outcome = subprocess.run([python, "-m", "venv", "--clear", str(venv)])
    if outcome.returncode:
        sys.exit(
            f"setup: `{python} -m venv` failed. On Debian and Ubuntu: apt install python3-venv. "
            "With conda: use environment.yml instead."
        )


def mend_opencv(inside, constraints):
    """Make `import cv2` work on machines without system graphics libraries.

    TrackEval asks for the plain `opencv-python`, which shares its folder with the headless build and needs libGL;
    where that library is missing, the plain build goes and the headless one is laid down again.
    """
    if subprocess.run([str(inside), "-c", "import cv2"], stderr=subprocess.DEVNULL).returncode == 0:
        return
    print("setup: OpenCV cannot load here (no system graphics libraries): switching to its headless build")
    run([inside, "-m", "pip", "uninstall", "-y", "-q", "opencv-python"])
    run(
        [
            inside,
            "-m",
            "pip",
            "install",
            "-q",
            "--force-reinstall",
            "--no-deps",
            "-c",
            constraints,
            "opencv-python-headless",
        ]
    )


def setup(root, venv=".venv", constraints="constraints.txt", extras=EXTRAS):
    """Create or refresh the environment. Returns its interpreter."""
    folder = root / venv
    stamp = folder / ".stamp"
    made_from = fingerprint(root, constraints)
    if stamp.exists() and stamp.read_text() == made_from and venv_python(folder).exists():
        return venv_python(folder)
    print(f"setup: making {folder.name} (once; about 7.5 GB, a few minutes)", flush=True)
    make_venv(find_python(), folder)
    inside = venv_python(folder)
    run(
        [
            inside,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-c",
            root / constraints,
            "-e",
            f"{root}[{extras}]",
        ]
    )
    mend_opencv(inside, root / constraints)
    stamp.write_text(made_from)
    print("setup: done", flush=True)
    return inside


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", default=".venv", help="folder of the environment, inside the project")
    parser.add_argument("--constraints", default="constraints.txt", help="file of tested versions")
    parser.add_argument("--extras", default=EXTRAS, help="optional dependencies to install")
    chosen = parser.parse_args()
    setup(Path(__file__).resolve().parent.parent, chosen.venv, chosen.constraints, chosen.extras)
