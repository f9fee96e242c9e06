"""The three sizes at which everything here can be run, and how a config picks its own.

smoke takes seconds and proves that all of it runs; cpu is a laptop without a GPU; gpu is the published scale.
"""

from collections.abc import Mapping
from typing import TypeVar

from course_lib.errors import InputError

Size = TypeVar("Size")


def of_preset(name: str, sizes: Mapping[str, Size]) -> Size:
    """The entry of `sizes` for the preset called `name`. Raises `InputError` naming the presets there are."""
    if name not in sizes:
        raise InputError(f"unknown preset {name!r}; use one of {', '.join(sizes)}")
    return sizes[name]
