"""Checksums of what a folder holds: ``checksums.json``, file by file, and what has become of them since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

__all__ = ["CHECKSUMS", "as_text", "damage", "digest"]

CHECKSUMS = "checksums.json"
"""SHA-256 by file name, as hexadecimal digits."""


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_text(digests: dict[str, str]) -> str:
    """What ``checksums.json`` holds."""
    return json.dumps(digests, indent=2)


def damage(folder: Path, needed: Iterable[str], others: bool = True) -> str:
    """What is wrong with the files of ``folder`` that are ``needed``, and with ``others`` that have a checksum, in words.

    Empty if nothing is.
    """
    try:
        digests = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{CHECKSUMS} is missing"
    except (OSError, ValueError):
        return f"{CHECKSUMS} cannot be read"
    if not isinstance(digests, dict) or not all(isinstance(name, str) and "/" not in name for name in digests):
        return f"{CHECKSUMS} is not what was written"
    for name in [*needed, *(digests if others else ())]:
        if name not in digests:
            return f"{CHECKSUMS} does not name {name}"
        try:
            if digest(folder / name) != digests[name]:
                return f"{name} does not have its checksum"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return ""
