"""What a widget hands to a notebook: itself for a live kernel, and plain HTML for everyone else."""

from typing import Any


def with_fallback(live: Any, html: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Output data and metadata of a widget. live: what the widget's own representation returned (data, or a pair)."""
    data, metadata = live if isinstance(live, tuple) else (live or {}, {})
    return {**data, "text/html": html, "text/plain": text}, dict(metadata)
