"""Errors that tell a user what was expected, what came, and what to do.

Each is also the built-in error a Python programmer would catch, so `except ValueError` keeps working.
"""


class CourseError(Exception):
    """Base of every error the library raises on purpose; the command line prints it without a traceback."""


class InputError(CourseError, ValueError):
    """An argument, a mask, a file's content or a setting is not what the function can use."""


class MissingDataError(CourseError, FileNotFoundError):
    """A file or data set is not where it should be. The message says how to get it."""


class DownloadError(CourseError, OSError):
    """A download failed, was truncated, or does not match its checksum."""


class WriteError(CourseError, OSError):
    """Results could not be written (full disk, no permission); what was finished before is intact."""


class CheckFailed(CourseError, AssertionError):
    """An exercise check failed in strict mode (solved notebooks)."""


class LessonError(CourseError, RuntimeError):
    """A lesson's source, notebook or execution is at fault."""
