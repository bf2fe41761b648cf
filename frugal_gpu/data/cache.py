"""The token cache: one folder for each text and tokenizer, written once, read through a memory map, checked when read.

    KEY/tokenizer.json      KEY/train.bin, KEY/validation.bin: raw ids      KEY/corpus.json: what is there, with checksums

A folder may grow: ids are appended, then corpus.json, which says how many of them count, is replaced. Whoever is killed
in between leaves ids that do not count, and the next one goes on from those that do. One process writes at a time
(``.KEY.lock``); readers need no lock, for what counts is never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_gpu.data.batches import Ids
from frugal_gpu.data.source import notice
from frugal_gpu.data.text import PARTS

__all__ = ["DamagedError", "Entry", "Growing", "Part", "cache_folder", "create", "locked", "open_stream", "read_entry"]


class DamagedError(Exception):
    """A cache folder that is not what was written: a missing or cut file, another checksum."""


@dataclass(frozen=True)
class Part:
    """What a part's .bin holds: how many ``tokens`` of how many ``documents``, their checksum, the rows ``skipped`` on the way,
    whether the text has ``ended``, and the ``state`` of its reader otherwise."""

    tokens: int = 0
    documents: int = 0
    skipped: int = 0
    digest: str = ""
    ended: bool = False
    state: Any = None


@dataclass(frozen=True)
class Entry:
    """What corpus.json says of its folder. ``dtype`` is that of the ids, ``tokenizer`` the checksum of tokenizer.json."""

    vocabulary: int
    separator: int
    dtype: str
    tokenizer: str
    parts: dict[str, Part] = field(default_factory=lambda: {part: Part() for part in PARTS})

    def grown(self, name: str, part: Part) -> Entry:
        """The entry with another part."""
        return replace(self, parts={**self.parts, name: part})


def cache_folder() -> Path:
    """Where tokenised text is kept: $FRUGAL_LAB_CACHE, $XDG_CACHE_HOME/frugal-lab or ~/.cache/frugal-lab."""
    if given := os.environ.get("FRUGAL_LAB_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frugal-lab"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder; it is free again when its process ends, however that ends."""
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=2)
    except Timeout:
        notice(f"another process tokenises the same text into {folder}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def create(folder: Path, entry: Entry, tokenizer: str) -> Entry:
    """A folder with a tokenizer and no ids, in the place of what may be there: made beside it and renamed. Needs the lock."""
    temporary = folder.with_name(f".{folder.name}.partial")
    for old in (temporary, folder):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    temporary.mkdir(parents=True)
    (temporary / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    for part in PARTS:
        (temporary / f"{part}.bin").touch()
    empty = {part: Part(digest=_hash().hexdigest()) for part in PARTS}
    entry = replace(entry, tokenizer=_hash(tokenizer.encode()).hexdigest(), parts=empty)
    _write_entry(temporary, entry)
    os.replace(temporary, folder)
    return entry


def read_entry(folder: Path) -> Entry | None:
    """What is in a folder, its size and checksums compared; None where there is no folder.

    Raises :class:`DamagedError` with the file's path and what is wrong with it.
    """
    if not folder.exists():
        return None
    path = folder / "corpus.json"
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        if written["digest"] != _json_digest(written["entry"]):
            raise DamagedError(f"{path}: its checksum differs")
        plain = written["entry"]
        entry = Entry(**{**plain, "parts": {name: Part(**part) for name, part in plain["parts"].items()}})
        _check_file(folder / "tokenizer.json", None, entry.tokenizer)
        for name, part in entry.parts.items():
            _check_file(folder / f"{name}.bin", part.tokens * np.dtype(entry.dtype).itemsize, part.digest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from error
    return entry


def open_stream(folder: Path, entry: Entry, part: str) -> Ids:
    """The ids of a part that count, memory-mapped."""
    count = entry.parts[part].tokens
    if not count:  # an empty file has no memory map
        return np.zeros(0, dtype=entry.dtype)
    stream: NDArray[Any] = np.memmap(folder / f"{part}.bin", dtype=entry.dtype, mode="r", shape=(count,))
    return stream


class Growing:
    """A part's .bin, open for appending at the ids that count. Needs the lock."""

    def __init__(self, folder: Path, entry: Entry, name: str) -> None:
        self.folder, self.entry, self.name, self.part = folder, entry, name, entry.parts[name]
        self._file = (folder / f"{name}.bin").open("r+b")
        self._file.truncate(self.part.tokens * np.dtype(entry.dtype).itemsize)
        self._hash = hashlib.file_digest(self._file, _hash)  # leaves the file at its end

    def append(self, pieces: list[list[int]], skipped: int, state: Any) -> None:
        """Add documents, each with its separator at its end (the first one with one before it, too)."""
        separator = [self.entry.separator]
        ids = [i for piece in pieces for i in (*piece, self.entry.separator)]
        raw = np.asarray(ids if self.part.tokens or not ids else separator + ids, dtype=self.entry.dtype)
        self._file.write(raw.tobytes())
        self._hash.update(raw.tobytes())
        self.part = replace(
            self.part,
            tokens=self.part.tokens + len(raw),
            documents=self.part.documents + len(pieces),
            skipped=self.part.skipped + skipped,
            digest=self._hash.hexdigest(),
            state=state,
        )

    def commit(self, ended: bool = False) -> Entry:
        """Let what was appended count."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.part = replace(self.part, ended=ended)
        self.entry = self.entry.grown(self.name, self.part)
        _write_entry(self.folder, self.entry)
        return self.entry

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _write_entry(folder: Path, entry: Entry) -> None:
    plain = json.loads(json.dumps(asdict(entry)))
    temporary = folder / ".corpus.json.partial"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({"digest": _json_digest(plain), "entry": plain}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / "corpus.json")


def _check_file(path: Path, size: int | None, digest: str) -> None:
    found = path.stat()
    if size is not None and found.st_size < size:
        raise DamagedError(f"{path}: has {found.st_size:,} bytes of {size:,}")
    if _file_digest(path, found.st_size if size is None else size, found.st_mtime_ns, found.st_ino) != digest:
        raise DamagedError(f"{path}: its checksum differs")


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, _modified: int, _inode: int) -> str:
    """The checksum of the first ``size`` bytes; a file that has not changed since is not read again."""
    digest = _hash()
    with path.open("rb") as file:
        while size and (chunk := file.read(min(size, 1 << 22))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()


def _json_digest(plain: Any) -> str:
    return _hash(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _hash(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=16)
