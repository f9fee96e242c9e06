"""Names that a package offers but imports only when they are used, so that a light import stays light."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], here: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package whose names live in other modules.

    homes: name -> module that defines it; here: names that the package has already. A name that is not offered raises
    `AttributeError` and lists those that are.
    """
    offered = sorted([*homes, *here])

    def get(name: str) -> Any:
        if name in homes:
            return getattr(import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}; it offers {', '.join(offered)}")

    return get, lambda: offered, offered
