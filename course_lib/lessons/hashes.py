"""Fingerprints: what a notebook was made from, and which library produced its outputs.

The library's fingerprint covers every file of the package, because lessons reach most of it lazily and a dependency
that is missed would let stale numbers pass as fresh ones.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def text_hash(text: str) -> str:
    """SHA-256 of a text, hexadecimal; the same on every system because line ends are unified first."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


@lru_cache(maxsize=1)
def library_hash() -> str:
    """SHA-256 over names and contents of all files of the installed library, compiled files left out."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            content = path.read_bytes()
            if path.suffix in {".py", ".json", ".js", ".css", ".html"}:
                content = content.replace(b"\r\n", b"\n")
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()
