"""Storages: the form in which a rule's state waits for the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from frugal_theory.algorithm.rules.rule import namespace
from frugal_theory.config.registry import Registry

__all__ = ["STORAGES", "Storage", "add_storage"]

Array = Any


class Storage(Protocol):
    """One form of a state: arrays in, arrays (or a tuple of arrays) out, and back."""

    def encode(self, value: Array) -> Any:
        """What is stored of an entry of the state."""
        ...

    def decode(self, stored: Any, like: Array) -> Array:
        """The entry again, in the dtype of ``like``."""
        ...


@dataclass(frozen=True)
class _Float:
    """A shorter floating-point number."""

    dtype: str

    def encode(self, value: Array) -> Array:
        """Rounded to the shorter type."""
        xp = namespace(value)
        return xp.astype(value, getattr(xp, self.dtype))

    def decode(self, stored: Array, like: Array) -> Array:
        """The number as it is, in the longer type."""
        return namespace(stored).astype(stored, like.dtype)


FLOAT16, FLOAT32 = _Float("float16"), _Float("float32")

STORAGES: Registry[Storage] = Registry(
    "storage",
    "frugal_theory.algorithm.storages:STORAGES",
    {name: f"frugal_theory.algorithm.storages:{name.upper()}" for name in ("float16", "float32")},
)
"""What ``Stored`` may name."""


def add_storage(name: str, storage: Storage) -> Storage:
    """Add a storage. Raises ValueError if the name is taken."""
    return STORAGES.add(name, storage)
