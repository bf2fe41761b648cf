"""The version of this package, from the one place that says it: pyproject.toml, through what is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed"]

DISTRIBUTION = "frugal-lab"


@cache
def installed() -> str:
    """Such as "1.0.0"; "unknown" for a checkout that was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
