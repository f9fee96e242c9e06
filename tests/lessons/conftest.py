"""A tiny course in a temporary folder, written by the test that needs it."""

from pathlib import Path

import pytest

MANIFEST = """\
# %% [raw] tags=["manifest"]
# lesson: {number}
# title: {title}
# promise: Learn one small thing.
# needs: {needs}
# objectives: [say it, "show it: with a colon", use it]
# terms: [mask, flow]
# source: "A. Author, PhD thesis, 2020, chapter 1"
{extra}
# %% tags=["parameters"]
PRESET = "cpu"
SEED = 0
DEVICE = "auto"
DATA_ROOT = None

"""

EXERCISE = """\
# %%
from course_lib.lessons.checking import Checks
from course_lib.lessons.exercise import Case, Exercise

check = Checks([Exercise("{name}", lambda x: 2 * x, (Case((2,)), Case((5,))))])

# %% [markdown]
# Double a number.

# %% tags=["exercise", "{name}"]
def {name}(x: int) -> int:
    \"\"\"Twice x.\"\"\"
    ### BEGIN SOLUTION
    {solution}
    ### END SOLUTION

# %% tags=["check"]
{name} = check.{name}({name})

# %% [markdown]
# <details><summary>Hint 1</summary> Think. </details>
#
# <details><summary>Hint 2</summary> Think of a sum. </details>
#
# <details><summary>Hint 3</summary> x and x. </details>

"""


class Project:
    """A checkout with nothing but lesson sources."""

    def __init__(self, root: Path):
        self.root = root
        self.sources = root / "notebooks" / "source"
        self.sources.mkdir(parents=True)

    def add(
        self, number: str, body: str, name: str = "tiny", title: str = "Tiny", needs: str = "[]", extra: str = ""
    ) -> Path:
        """Write a lesson whose cells after the parameters are `body`; `extra` are more lines of the manifest."""
        path = self.sources / f"{number}_{name}.py"
        head = MANIFEST.format(number=number, title=title, needs=needs, extra=extra)
        path.write_text(head + body, encoding="utf-8")
        return path

    def notebook(self, name: str, solved: bool = False) -> Path:
        return self.root / "notebooks" / ("solutions" if solved else "") / f"{name}.ipynb"


def exercise(name: str = "double", solution: str = "return x + x") -> str:
    """Cells of one complete exercise: statement, function, check, three hints."""
    return EXERCISE.format(name=name, solution=solution)


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="session")
def exercise_cells():
    return exercise
