"""Pieces of a measurement that survive an interruption: tables, named by everything that they depend on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from frugal_theory.config.identity import name_of
from frugal_theory.results.files import finished

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Pieces"]


@dataclass
class Pieces:
    """Tables in ``folder``, each under the name of the program, the ``study`` (its name and text) and a key."""

    folder: Path
    study: tuple[str, ...]
    used: set[Path] = field(default_factory=set)
    """Files that belong to this run, kept before or now."""

    def load(self, key: str) -> pd.DataFrame | None:
        """The table kept under ``key``; None if there is none, or the file is damaged."""
        import pandas as pd

        path = self._path(key)
        if not path.exists():
            return None
        try:
            table: pd.DataFrame = pd.read_parquet(path)
        except (OSError, ValueError):
            return None
        self.used.add(path)
        return table

    def save(self, key: str, table: pd.DataFrame) -> None:
        """Keep ``table`` under ``key`` until the run is complete."""
        path = self._path(key)
        with finished(path) as temporary:
            table.to_parquet(temporary)
        self.used.add(path)

    def drop(self) -> None:
        """Forget what this run used: it is complete. What another experiment's run kept stays."""
        for path in self.used:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            self.folder.rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / f"{name_of(self.study, key)}.parquet"
