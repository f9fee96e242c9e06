"""A disk that fills up: writes beyond a quota fail in the operating system, as on a full one."""

from contextlib import contextmanager

import pytest


@pytest.fixture
def disk_quota():
    """Context manager `disk_quota(size)`: no file may grow beyond `size` bytes inside it."""
    resource = pytest.importorskip("resource", reason="file size limits exist on POSIX systems only")

    @contextmanager
    def limit(size: int):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
