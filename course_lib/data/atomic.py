"""Files that appear whole or not at all: written under another name beside the target, renamed when complete.

Unusual: every failure of the system (full disk, no permission) leaves as one `WriteError`, and whatever the target held
before is still there.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from course_lib.errors import WriteError


def write_failed(path: Path, error: Exception) -> WriteError:
    """The error to raise when `path` could not be written because of `error`."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return WriteError(
        f"cannot write {path}: {reason}. No partial file was left, and an earlier file of that name is untouched; "
        "free some space or choose another folder, then run again"
    )


def temporary_beside(path: Path) -> Path:
    """A fresh name in the folder of `path`, with its suffix, because encoders choose the format by suffix."""
    return path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.part{path.suffix}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; it becomes `path` when the block ends well, and is removed when it does not.

    The folder of `path` is made if needed. An `OSError` inside the block or in the renaming leaves as `WriteError`;
    anything else, an interrupt included, passes through.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise write_failed(path, error) from error
    finally:
        with suppress(OSError):  # there may be no such folder; the reason to report is the one above
            temporary.unlink(missing_ok=True)
