"""C4's English part, streamed from the hub by ``datasets``, shard by shard, and taken up again where a stream broke."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from frugal_gpu.data.source import Bad, Reader, Source, notice, row_text
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

__all__ = ["SOURCE", "WAITS"]

C4 = "allenai/c4"

WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further attempt at a stream that broke; a document that arrives begins the count anew."""


class _Stream:
    """The documents of one split. Its state is that of ``datasets``, which finds the shard again, and how many were read.

    What fails at the beginning is raised at once, for ``datasets`` has asked several times; what breaks later is opened again.
    """

    def __init__(self, part: str, state: dict[str, Any] | None) -> None:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would announce each attempt to reach the network
        self._part = part
        self._saved: dict[str, Any] = state or {"rows": None, "read": 0}
        self._read: int = self._saved["read"]
        self._rows: Any = None
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[str | Bad]:
        return self

    def __next__(self) -> str | Bad:
        while True:
            document = row_text(self._next_row(), "text", f"{C4}, row {self._read} of {self._part}")
            if document is not None:
                return document

    def state(self) -> dict[str, Any]:
        """Where the stream stands."""
        if self._rows is not None and hasattr(self._rows, "state_dict"):
            self._saved = {"rows": self._rows.state_dict(), "read": self._read}
        return self._saved

    def _next_row(self) -> Any:
        failures = 0
        while True:
            try:
                if self._iterator is None:
                    self._open()
                assert self._iterator is not None
                row = next(self._iterator)
            except StopIteration:
                raise
            except Exception as error:  # whatever the hub's client raises when the network fails
                self._iterator = None
                self._wait_or_give_up(error, failures)
                failures += 1
            else:
                self._read += 1
                return row

    def _open(self) -> None:
        """Open the split at the saved state and read over what came since."""
        from datasets import load_dataset

        self._rows = load_dataset(C4, "en", split=self._part, streaming=True)
        if self._saved["rows"] is not None:
            self._rows.load_state_dict(self._saved["rows"])
        self._iterator = iter(self._rows)
        for _ in range(self._read - self._saved["read"]):
            next(self._iterator)

    def _wait_or_give_up(self, error: Exception, failures: int) -> None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if self._read == 0:
            raise ExperimentError(
                f'data.source = "c4": {C4} cannot be streamed ({reason}); it needs a network; '
                'allowed without one: "python-docs", "python-sources", "markov" or a local file'
            ) from error
        where = f"the {self._part} stream broke after {self._read:,} documents"
        if failures == len(WAITS):
            raise ExperimentError(
                f'data.source = "c4": {where}, and {failures} more attempts failed ({reason}); what was tokenised is kept, '
                "and the same command goes on from there"
            ) from error
        notice(f"c4: {where} ({reason}); attempt {failures + 1} of {len(WAITS)} in {WAITS[failures]} s")
        time.sleep(WAITS[failures])


def _reader(_: Data, part: str, state: Any) -> Reader:
    return _Stream(part, state)


SOURCE = Source(lambda _, part: _Stream(part, None), lambda _: C4, validation=True, endless=True, reader=_reader)
