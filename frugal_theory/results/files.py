"""Files that get their final name only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ResultsError",
    "append",
    "check_place",
    "finished",
    "make_folder",
    "missing_folders",
    "remove_empty",
    "write_table",
    "write_text",
]


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


def append(path: Path, line: str) -> None:
    """Add a line to a file. A kill may leave a part of the last one, which the next line does not go on with."""
    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() and not _ends(path):
                file.write(b"\n")
            file.write(f"{line}\n".encode())
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written: {error.strerror or error}") from error


def _ends(path: Path) -> bool:
    """Whether the last line is whole."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def missing_folders(folder: Path) -> list[Path]:
    """The folders that making ``folder`` makes, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those that are there, the innermost first, up to one that is not empty."""
    with suppress(OSError):
        for place in folders:
            if place.exists():
                place.rmdir()


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
