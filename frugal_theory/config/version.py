"""The version of this package, from the one place that says it: pyproject.toml, through what is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed"]

DISTRIBUTION = "frugal-lab"


@cache
def installed(distribution: str = DISTRIBUTION) -> str:
    """Such as "1.0.0", of this or another distribution; "unknown" for one that is not there, or a checkout never installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
