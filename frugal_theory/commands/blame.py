"""Whose code an error comes from: the user's own, or ours."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

from frugal_theory.config.identity import PACKAGES

__all__ = ["own_line"]

INSTALLED = ("site-packages", "dist-packages")
WRITTEN = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)
"""How a process that was at work on a task sends the lines of its traceback: as text."""


def own_line(error: BaseException) -> str | None:
    """The innermost line of the user's own code that an error went through, "FILE, line N"; None if there is none.

    Own is what neither Python, nor an installed package, nor this project has brought.
    """
    lines = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    if error.__cause__ is not None and type(error.__cause__).__name__ == "_RemoteTraceback":
        lines += [(file, int(number)) for file, number in WRITTEN.findall(str(error.__cause__))]
    own = [f"{file}, line {number}" for file, number in lines if _is_own(Path(file))]
    return own[-1] if own else None


def _is_own(file: Path) -> bool:
    if not file.is_file():
        return False
    path, root = file.resolve(), Path(__file__).resolve().parents[2]
    ours = any(path.is_relative_to((root / package).resolve()) for package in PACKAGES)
    python = path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    return not (ours or python or any(part in INSTALLED for part in path.parts))
