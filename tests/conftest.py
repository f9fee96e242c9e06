"""Shared by all tests: one thread per process (two on a loaded machine can be ten times slower), and real data."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
cv2.setNumThreads(1)
settings.register_profile("course", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("course")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference numbers."""
    return GOLDEN


@pytest.fixture(scope="session")
def course_data() -> Path:
    """Folder of real data sets, from COURSE_DATA; tests that need it skip with a clear reason where it is not set."""
    root = os.environ.get("COURSE_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("COURSE_DATA does not name a folder of real data sets")
    return Path(root)
