"""Storages: the form in which a rule's state waits for the next step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules.rule import namespace
from frugal_theory.config.registry import Registry

__all__ = ["SIGNED8", "STORAGES", "UNSIGNED8", "Coded", "Dynamic8", "Storage", "add_storage", "bytes_in_8", "dynamic_map"]

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

BLOCK = 256
"""Numbers that share a scale."""

LEAST = 4096
"""Numbers below which an array is not worth shortening."""


CHUNK = 2**16
"""Numbers that are encoded at a time; a multiple of the block."""


class Coded(NamedTuple):
    """Numbers in eight bits. ``codes``: of the array's shape, places in the map; ``scales``: the largest |value| of each block
    of 256 along the flattened array, float32."""

    codes: Array
    scales: Array


@lru_cache(maxsize=2)
def dynamic_map(signed: bool) -> NDArray[np.float32]:
    """The 256 values between −1 (0 if unsigned) and 1 of dynamic quantisation, ascending (Dettmers et al., arXiv 2110.02861).

    Decades from 1e-7 to 1, each with twice as many values as the one below, in the middles of equal intervals of [.1, 1];
    0 and 1 beside them. A signed map has half as many on either side.
    """
    positive = []
    for decade in range(7):
        edges = np.linspace(0.1, 1.0, 2 ** (decade if signed else decade + 1) + 1)
        positive.append(10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2)
    magnitudes = np.concatenate(positive)
    below = -magnitudes if signed else magnitudes[:0]
    return np.sort(np.concatenate([below, [0.0], magnitudes, [1.0]])).astype(np.float32)


@dataclass(frozen=True)
class Dynamic8:
    """Eight bits a number: the nearest of 256 values times the largest of its block, which is exact (a negative one of a signed
    map is not: −.993 of it). Arrays of fewer than 4096 numbers stay float32.
    """

    signed: bool

    def encode(self, value: Array) -> Coded | Array:
        """The codes of an array of any shape; the last block may be shorter than 256."""
        xp = namespace(value)
        count = math.prod(value.shape)
        if count < LEAST:
            return xp.astype(value, xp.float32)
        values = _beside(dynamic_map(self.signed), value)
        middles = (values[1:] + values[:-1]) / 2
        flat = xp.astype(xp.reshape(value, (-1,)), xp.float32)
        codes, scales = [], []
        for start in range(0, count, CHUNK):  # temporaries stay small
            part = flat[start : start + CHUNK]
            short = -part.shape[0] % BLOCK
            padded = xp.concat([part, xp.zeros_like(part[:short])]) if short else part
            blocks = xp.reshape(padded, (-1, BLOCK))
            scale = xp.max(xp.abs(blocks), axis=1)
            within = xp.reshape(blocks / xp.where(scale > 0, scale, 1.0)[:, None], (-1,))[: part.shape[0]]
            codes.append(xp.astype(xp.searchsorted(middles, within), xp.uint8))
            scales.append(scale)
        return Coded(xp.reshape(xp.concat(codes), value.shape), xp.concat(scales))

    def decode(self, stored: Coded | Array, like: Array) -> Array:
        """The numbers in the dtype of ``like``."""
        if not isinstance(stored, Coded):
            return namespace(stored).astype(stored, like.dtype)
        codes, scales = stored
        xp = namespace(codes)
        values = xp.take(_beside(dynamic_map(self.signed), codes), xp.astype(xp.reshape(codes, (-1,)), xp.int32))
        values = values * xp.repeat(scales, BLOCK)[: values.shape[0]]
        return xp.astype(xp.reshape(values, codes.shape), like.dtype)


def bytes_in_8(numbers: float) -> float:
    """Bytes of an array of so many numbers in this form."""
    return 4 * numbers if numbers < LEAST else numbers + 4 * math.ceil(numbers / BLOCK)


def _beside(values: NDArray[np.float32], like: Array) -> Array:
    """The values as an array of the kind of another, on its device."""
    if isinstance(like, np.ndarray):
        return values
    return namespace(like).asarray(values, device=like.device)


SIGNED8, UNSIGNED8 = Dynamic8(True), Dynamic8(False)

STORAGES: Registry[Storage] = Registry(
    "storage",
    "frugal_theory.algorithm.storages:STORAGES",
    {name: f"frugal_theory.algorithm.storages:{name.upper()}" for name in ("float16", "float32", "signed8", "unsigned8")},
)
"""What ``Stored`` may name."""


def add_storage(name: str, storage: Storage) -> Storage:
    """Add a storage. Raises ValueError if the name is taken."""
    return STORAGES.add(name, storage)
