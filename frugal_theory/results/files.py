"""Files that get their final name only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ResultsError", "check_place", "finished", "make_folder", "write_table", "write_text"]


class ResultsError(OSError):
    """Results that cannot be written. The message is one line naming the file and what is wrong."""


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` at the end, or remove it if anything went wrong.

    Raises ResultsError for a full disk, an unwritable folder and the like.
    """
    check_place(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def check_place(path: Path) -> None:
    """Raise ResultsError where a file cannot come: an empty name, a folder, a device, a pipe. They are never replaced."""
    try:
        if path.name and (path.is_file() or not path.exists()):
            return
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written: {error.strerror or error}") from error
    raise ResultsError(f"{path}: is no regular file; give the name of a new file, or of one to be replaced")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one go."""
    with finished(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Make the folder, and find out now rather than after the work whether it can be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{path}: the folder cannot be made: {error.strerror or error}") from error
    with finished(path / ".writable") as temporary:
        temporary.write_bytes(b"")
    (path / ".writable").unlink(missing_ok=True)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, without its index."""
    with finished(path) as temporary:
        table.to_parquet(temporary, index=False)
