"""The ledger of published claims: what the theses say, what was measured here, and whether it held.

Names load on first use: `from course_lib.claims import Claim, load_board, run_claims`.
"""

from importlib import import_module

_HOME = {
    "Claim": "course_lib.claims.claim",
    "Published": "course_lib.claims.claim",
    "Source": "course_lib.claims.claim",
    "Interval": "course_lib.claims.bootstrap",
    "paired_bootstrap": "course_lib.claims.bootstrap",
    "verdict": "course_lib.claims.bootstrap",
    "all_claims": "course_lib.claims.ledger",
    "run_claims": "course_lib.claims.ledger",
    "load_board": "course_lib.claims.board",
    "board_html": "course_lib.claims.board",
    "board_markdown": "course_lib.claims.board",
    "board_text": "course_lib.claims.board",
}

__all__ = [
    "Claim",
    "Interval",
    "Published",
    "Source",
    "all_claims",
    "board_html",
    "board_markdown",
    "board_text",
    "load_board",
    "paired_bootstrap",
    "run_claims",
    "verdict",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'course_lib.claims' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
