"""Local files: one of the known formats, or a folder of files of one format. Paths are literal: no wildcards, no URLs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from frugal_gpu.data.formats import COMPRESSED, FORMATS, format_of, read
from frugal_gpu.data.source import Bad, Source
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.parts import quoted
from frugal_theory.config.registry import SOURCES

__all__ = ["SOURCE", "content", "files", "read_files"]

ENDINGS = ", ".join(FORMATS)


def files(source: str, key: str = "data.source") -> list[Path]:
    """The files that a path stands for, sorted; all of one format. In a folder hidden files and folders are left out.

    Raises ExperimentError, which calls the path the value of ``key``.
    """
    given = f'{key} = "{source}"'
    try:
        path = Path(source)
        exists, folder, regular = path.exists(), path.is_dir(), path.is_file()
        found = sorted(p for p in path.rglob("*") if _readable(p, path)) if folder else [path]
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ExperimentError(f"{given}: cannot be read: {error}") from error
    if not exists:
        also = f"{quoted(SOURCES)}, " if key == "data.source" else ""
        raise ExperimentError(
            f"{given}: no such file; allowed: {also}a path ending in {ENDINGS} (or in {', '.join(COMPRESSED)} after that), "
            "or a folder of such files"
        )
    if not folder and not regular:
        raise ExperimentError(f"{given}: is no regular file; allowed: a file ending in {ENDINGS}, or a folder of such files")
    kinds = {format_of(file) for file in found}
    if len(kinds) != 1 or not kinds <= set(FORMATS):
        seen = ", ".join(sorted(kinds)) or ("no such file" if folder else "no ending")
        raise ExperimentError(f"{given}: found {seen}; allowed: files of one kind, {ENDINGS}")
    _check_compression(found, given)
    return found


def _readable(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and format_of(path) in FORMATS and path.is_file()


def _check_compression(found: list[Path], given: str) -> None:
    codecs = {codec: file for file in found if (codec := COMPRESSED.get(file.suffix.lower()))}
    if not codecs:
        return
    import pyarrow

    for codec, file in codecs.items():
        if format_of(file) == ".parquet":
            raise ExperimentError(f"{given}: {file} is compressed on the outside; allowed: a .parquet file as it is")
        if not pyarrow.Codec.is_available(codec):
            raise ExperimentError(
                f"{given}: {file} needs {codec}, which this pyarrow lacks; pip install --force-reinstall pyarrow"
            )


def read_files(data: Data, source: str, key: str = "data.source") -> Iterator[str | Bad]:
    """The documents of local files. Raises ExperimentError, one line, for a file that breaks in the middle."""
    for path in files(source, key):
        try:
            yield from read(path, data)
        except (OSError, ValueError, RecursionError) as error:  # Arrow's errors are one of the first two
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            kind = format_of(path).removeprefix(".")
            raise ExperimentError(f'{key} = "{source}": {path} cannot be read as {kind}: {reason}') from error


def content(data: Data, source: str, key: str = "data.source") -> str:
    """A hash of what the files hold and of the keys that say how it is read; names and places do not count."""
    digest = hashlib.blake2b(digest_size=16)
    found = files(source, key)
    for path in found:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
        except OSError as error:
            raise ExperimentError(f'{key} = "{source}": {path} cannot be read: {error.strerror}') from error
        digest.update(COMPRESSED.get(path.suffix.lower(), "plain").encode())
    how = [format_of(found[0]), data.text_field, data.documents, data.encoding, data.bad_rows]
    return f"{' '.join(how)} {digest.hexdigest()}"


SOURCE = Source(lambda data, _: read_files(data, data.source), lambda data: content(data, data.source))
