"""What to install when an optional library is not there, from the one place that says it: the package's own requirements."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, requires

from frugal_theory.config.version import DISTRIBUTION

__all__ = ["missing"]

WHOLE = ("all", "dev", "docs")
"""Extras that a user is not sent to."""


def missing(module: str | None) -> str | None:
    """The line that says what a module that was not found needs; None for one that no extra brings.

    >>> missing("torch.nn")
    'torch is not installed: pip install "frugal-lab[gpu]"'
    """
    library = (module or "").partition(".")[0]
    extra = _extras().get(library.lower().replace("_", "-"))
    return None if extra is None else f'{library} is not installed: pip install "{DISTRIBUTION}[{extra}]"'


@cache
def _extras() -> dict[str, str]:
    """Extra by distribution, the first that has it."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        lines = []
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"""([\w.-]+).*;.*extra\s*==\s*['"]([\w-]+)['"]""", line)
        if match and match[2] not in WHOLE and match[1].lower() != DISTRIBUTION:
            found.setdefault(match[1].lower().replace("_", "-"), match[2])
    return found
