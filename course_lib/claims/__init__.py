"""The ledger of published claims: what the theses say, what was measured here, and whether it held.

Names load on first use: `from course_lib.claims import Claim, load_board, run_claims`.
"""

from course_lib.lazy import lazy_names

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

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
