"""How a file is read: .txt, .jsonl, .json and .parquet, plain or compressed, without a look at the network.

Every reader yields documents, blank ones left out, and a :class:`Bad` for what is none. What breaks the whole file (a
truncated archive, a parquet footer that is none) raises ``ValueError`` or ``OSError``; the caller names the file.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from frugal_gpu.data.source import Bad, row_text
from frugal_theory.config import Data

__all__ = ["COMPRESSED", "FORMATS", "format_of", "lines", "read"]

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
"""Endings of compressed files, and what Arrow calls their codecs."""

BYTE_ORDER_MARK = "\ufeff"

UNDECODABLE = "\udfff"
"""Stands for bytes that the encoding does not know; no decoder makes it."""

codecs.register_error("frugal-bad-row", lambda error: (UNDECODABLE, cast(UnicodeDecodeError, error).end))


def format_of(path: Path) -> str:
    """The ending that says what a file holds, in lower case and without that of its compression: "Text.TXT.gz" is ".txt"."""
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""


def read(path: Path, data: Data) -> Iterator[str | Bad]:
    """The documents of one file."""
    return FORMATS[format_of(path)](path, data)


def lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file without their ends. A byte order mark is no text, and undecodable bytes are marked."""
    with closing(_opened(path)) as binary, io.TextIOWrapper(binary, encoding, errors="frugal-bad-row") as text:
        for number, line in enumerate(text):
            found = line if number else line.removeprefix(BYTE_ORDER_MARK)  # of every encoding: "utf-16-le" keeps it, too
            yield found.removesuffix("\n")


def _opened(path: Path) -> Any:
    """The decompressed bytes, as a binary file."""
    codec = COMPRESSED.get(path.suffix.lower())
    if codec is None:
        return path.open("rb")
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), codec)


def _text(path: Path, data: Data) -> Iterator[str | Bad]:
    """Paragraphs (a line of white space ends one), lines, or the whole file."""
    collected: list[str] = []
    begin = 1
    for number, line in enumerate(lines(path, data.encoding), 1):
        if data.documents == "line" or (data.documents == "paragraph" and not line.strip()):
            yield from _decoded(collected, path, begin, data)
            collected, begin = [], number
        if data.documents == "file" or line.strip():
            begin = begin if collected else number
            collected.append(line)
    yield from _decoded(collected, path, begin, data)


def _decoded(collected: list[str], path: Path, number: int, data: Data) -> Iterator[str | Bad]:
    """One document, unless it is blank or holds bytes that could not be decoded."""
    text = "\n".join(collected)
    if UNDECODABLE in text:
        offset = text[: text.index(UNDECODABLE)].count("\n")
        yield Bad(f'{path}, line {number + offset} is not {data.encoding} (data.encoding = "{data.encoding}")')
    elif text.strip():
        yield text


def _json_lines(path: Path, data: Data) -> Iterator[str | Bad]:
    """One JSON value a line."""
    for number, line in enumerate(lines(path, data.encoding), 1):
        if line.strip():
            yield from _json_row(line, f"{path}, line {number}", data)


def _json_row(line: str, place: str, data: Data) -> Iterator[str | Bad]:
    if UNDECODABLE in line:
        yield Bad(f'{place} is not {data.encoding} (data.encoding = "{data.encoding}")')
        return
    try:
        found = row_text(json.loads(line), data.text_field, place)
    except (ValueError, RecursionError) as error:
        yield Bad(f"{place} cannot be read as json: {error}")
        return
    if found is not None:
        yield found


def _is_json(line: str) -> bool:
    """Whether a line is a JSON value as it stands, and not the beginning of one over several lines."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _json(path: Path, data: Data) -> Iterator[str | Bad]:
    """A list of rows, an object that holds one such list, or one JSON value a line, as C4's shards have."""
    filled = (line for line in lines(path, data.encoding) if line.strip())
    first = next(filled, "")
    if next(filled, None) is not None and _is_json(first):
        yield from _json_lines(path, data)
        return
    text = "\n".join(lines(path, data.encoding))
    if UNDECODABLE in text:
        raise ValueError(f'is not {data.encoding} (data.encoding = "{data.encoding}")')
    held = json.loads(text)
    if isinstance(held, dict) and data.text_field not in held:
        lists = [value for value in held.values() if isinstance(value, list)]
        held = lists[0] if len(lists) == 1 else held
    for number, row in enumerate(held if isinstance(held, list) else [held], 1):
        found = row_text(row, data.text_field, f"{path}, row {number}")
        if found is not None:
            yield found


def _parquet(path: Path, data: Data) -> Iterator[str | Bad]:
    """The rows of one column, a batch at a time."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if data.text_field not in names:
            texts = ", ".join(f'"{f.name}"' for f in file.schema_arrow if str(f.type).endswith("string")) or "none"
            raise ValueError(f'has no column "{data.text_field}" (data.text_field); columns that hold text: {texts}')
        number = 0
        for batch in file.iter_batches(columns=[data.text_field]):
            for value in batch.column(0).to_pylist():
                number += 1
                found = row_text({data.text_field: value}, data.text_field, f"{path}, row {number}")
                if found is not None:
                    yield found


FORMATS: dict[str, Callable[[Path, Data], Iterator[str | Bad]]] = {
    ".txt": _text,
    ".jsonl": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}
"""File endings and their readers."""
