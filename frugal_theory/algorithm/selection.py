"""Selection: which units are state-full, as a pure function of (seed, parameter name, period).

There is no hidden random state, so a resumed run, the ranks of a distributed run and the two engines draw the same
subspaces without talking to each other. The source of randomness is SplitMix64 (Steele, Lea & Flood 2014) used as a
counter-based generator: the i-th number of a key is ``mix(key + (i + 1)γ)``. Everything is 64-bit integer arithmetic
with wrap-around, written with operators that NumPy and PyTorch share, so both give the same bits on every device.

``key`` is a Python int (one draw), or an int64 array of shape (trials, 1) (one draw a trial); results then carry the
leading trial axis.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GAMMA",
    "MIX_1",
    "MIX_2",
    "Window",
    "budget",
    "circle",
    "divided",
    "independent_units",
    "layers",
    "leading",
    "normals",
    "pieces",
    "selection_key",
    "stream",
    "subset",
    "threshold",
    "trial_keys",
    "uniform_bits",
    "walk",
]

GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio, as a signed 64-bit integer
MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_TWO_64 = 2**64
_LAYER = re.compile(r"(?:.*?\.)?\d+(?=\.|$)")

STREAMS = ("problem", "start", "noise", "selection")


def stream(seed: int, name: str) -> np.random.SeedSequence:
    """The seed sequence of one named stream; streams of one seed are independent of each other."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(STREAMS.index(name),))


def selection_key(seed: int, name: str, period: int) -> int:
    """The 64-bit key of one draw: (seed, parameter name, period) hashed to a signed integer."""
    return _signed(_mix_int(_named_key(seed, name) + period))


def trial_keys(key: int, trials: NDArray[np.int64]) -> NDArray[np.int64]:
    """One key a trial, shape (trials, 1). Trial 0 has the key itself: it is the run that training does."""
    trials = np.asarray(trials, dtype=np.int64).reshape(-1, 1)
    return np.where(trials == 0, np.int64(key), uniform_bits(key, trials - 1))


def uniform_bits(key: Any, index: Any) -> Any:
    """64 random bits (as int64) for every entry of the int64 array or tensor ``index``."""
    bits = key + (index + 1) * GAMMA
    bits = (bits ^ _shift_right(bits, 30)) * MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * MIX_2
    return bits ^ _shift_right(bits, 31)


def independent_units(key: Any, index: Any, probability: float) -> Any:
    """Booleans, each true with ``probability``, independent of each other."""
    if probability >= 1:
        return (index | 1) != 0
    return uniform_bits(key, index) < threshold(probability)


def threshold(probability: float) -> int:
    """The int64 number that a ``probability`` < 1 of all of them are below."""
    return int(probability * _TWO_64) - 2**63


def subset(key: Any, count: int, size: int) -> NDArray[np.int64]:
    """A uniformly drawn set of ``size`` out of ``count`` units, ascending; shape (size,) or (trials, size)."""
    bits = uniform_bits(key, np.arange(count, dtype=np.int64))
    if size == 0:
        return np.zeros((*bits.shape[:-1], 0), dtype=np.int64)
    if size >= count:
        return np.broadcast_to(np.arange(count), bits.shape).copy()
    return np.sort(np.argpartition(bits, size - 1, axis=-1)[..., :size], axis=-1)


def normals(key: Any, count: int) -> NDArray[np.float64]:
    """Standard normal numbers by Box and Muller, shape (count,) or (trials, count)."""
    index = np.arange(count, dtype=np.int64)
    first = _unit_interval(uniform_bits(key, 2 * index))
    second = _unit_interval(uniform_bits(key, 2 * index + 1))
    return np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)


def budget(density: float, count: int) -> int:
    """How many of ``count`` units the density stands for: rounded, but at least one if the density is positive."""
    return 0 if density == 0 else min(count, max(1, int(density * count + 0.5)))


def leading(density: float, count: int) -> NDArray[np.int64]:
    """The first ``budget(density, count)`` units."""
    return np.arange(budget(density, count))


@dataclass(frozen=True)
class Window:
    """A window of ``size`` elements on a circle of ``total``, on which blocks are laid.

    ``ahead``, shape (blocks,) or (trials, blocks): how far each block's first element lies ahead of the window's.
    """

    ahead: NDArray[np.int64]
    size: int
    total: int

    def blocks(self) -> NDArray[np.bool_]:
        """The blocks whose first element lies in the window; if none starts there, the block that it lies in."""
        active: NDArray[np.bool_] = self.ahead < self.size
        around = (self.size > 0) & ~active.any(axis=-1, keepdims=True)
        return active | (around & (self.ahead == self.ahead.max(axis=-1, keepdims=True)))

    def pieces(self, block: int, first: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The same of a block's pieces, ``first`` the element that each begins with. Shape (pieces,) or (trials, pieces)."""
        ahead = (self.ahead[..., block, None] + first) % self.total
        inside: NDArray[np.bool_] = ahead < self.size
        around = self.blocks()[..., block, None] & ~inside.any(axis=-1, keepdims=True)
        return inside | (around & (ahead == ahead.max(axis=-1, keepdims=True)))


def walk(key: Any, period: int, sizes: NDArray[np.int64], density: float, order: str) -> Window:
    """The window of ``density`` of all *elements* that walks over the blocks laid on a circle.

    What is active if its first element lies in the window is so with the same probability (order "random") or once a round
    (the other orders), whatever its size. Orders: "random" draws a new arrangement and a new window every period, "ascending"
    and "descending" walk on, "mirror" walks to the end and back, "inward" takes the blocks from both ends in
    turn: first, last, second, last but one, and so on.
    """
    total, count = int(sizes.sum()), len(sizes)
    window = budget(density, total)
    if window == 0 or window >= total:
        return Window(np.zeros((*np.shape(key)[:-1], count), dtype=np.int64), window, max(1, total))
    blocks = np.arange(count, dtype=np.int64)
    if order == "random":
        arrangement = np.argsort(uniform_bits(key, blocks), axis=-1, kind="stable")
        draw = uniform_bits(key, np.full(1, count, dtype=np.int64))
        offset = _remainder(draw, total)
    else:
        periods = -(-total // window)  # in one round every block has been active once
        turn, within = divmod(period, periods)
        backwards = order == "descending" or (order == "mirror" and turn % 2 == 1)
        arrangement = blocks[::-1] if backwards else inwards(count) if order == "inward" else blocks
        walked = within * window if order == "mirror" else period * window
        offset = np.full(1, walked % total)
        if order == "mirror":
            window = min(window, total - walked)
    laid = sizes[arrangement]
    position = np.cumsum(laid, axis=-1) - laid
    ahead = (position - offset) % total
    result = np.zeros(ahead.shape, dtype=np.int64)
    np.put_along_axis(result, np.broadcast_to(arrangement, ahead.shape), ahead, axis=-1)
    return Window(result, window, total)


def circle(key: Any, period: int, sizes: NDArray[np.int64], density: float, order: str) -> NDArray[np.bool_]:
    """Which blocks are active, taken whole: what :func:`walk`'s window holds of them. Shape (blocks,) or (trials, blocks)."""
    return walk(key, period, sizes, density, order).blocks()


def divided(
    key: Any,
    period: int,
    shapes: Sequence[tuple[int, ...]],
    density: float,
    block_of: NDArray[np.intp],
    order: str,
) -> list[NDArray[np.bool_]]:
    """What of every tensor is active: as its block is, or its :func:`pieces` where the block is larger than the window.

    So the set holds ``density`` of all elements for any sizes: within the largest piece in one period, and exactly on
    average. Returns booleans, one array a tensor, that broadcast against its shape, or against that with the trials in front.
    """
    counts = np.array([math.prod(shape) for shape in shapes], dtype=np.int64)
    sizes = np.bincount(block_of, weights=counts).astype(np.int64)
    window, largest = walk(key, period, sizes, density, order), budget(density, int(sizes.sum()))
    whole = window.blocks()
    along = [pieces(shape, largest) for shape in shapes]
    inside: list[NDArray[np.bool_]] = [whole[..., block : block + 1] for block in block_of]
    for block in np.flatnonzero((sizes > largest) & (largest > 0)):
        own = np.flatnonzero(block_of == block)
        each = [np.full(math.prod(along[i]), counts[i] // math.prod(along[i])) for i in own]
        laid = np.concatenate(each)
        held = window.pieces(int(block), np.cumsum(laid) - laid)
        for i, part in zip(own, np.split(held, np.cumsum([len(cut) for cut in each])[:-1], axis=-1), strict=True):
            inside[i] = part
    return [part.reshape(part.shape[:-1] + axes) for part, axes in zip(inside, along, strict=True)]


def pieces(shape: tuple[int, ...], window: int) -> tuple[int, ...]:
    """How many pieces a tensor is divided into along each axis: one if the window holds it, else rows, or coordinates if the
    window does not hold a row."""
    size = math.prod(shape)
    if window == 0 or size <= window:
        return (1,) * len(shape)
    return shape[:1] + (1,) * (len(shape) - 1) if size // shape[0] <= window and shape[0] > 1 else shape


def inwards(count: int) -> NDArray[np.int64]:
    """0, n−1, 1, n−2, …"""
    blocks = np.arange(count, dtype=np.int64)
    return np.where(blocks % 2 == 0, blocks // 2, count - 1 - blocks // 2)


def layers(names: Sequence[str]) -> NDArray[np.intp]:
    """The number of the layer that each parameter is in, layers being numbered as they come.

    A layer is what a name says up to and including its first number, "model.layers.3"; a name without one is by itself.

    >>> layers(["embed.weight", "layers.0.q", "layers.0.k", "layers.1.q", "norm.weight"]).tolist()
    [0, 1, 1, 2, 3]
    """
    found: dict[str, int] = {}
    layer = [match.group() if (match := _LAYER.match(name)) else name for name in names]
    return np.array([found.setdefault(each, len(found)) for each in layer], dtype=np.intp)


@lru_cache
def _named_key(seed: int, name: str) -> int:
    """What the keys of all periods have in common: it is asked for at every one of them."""
    base = int(stream(seed, "selection").generate_state(1, np.uint64)[0])
    label = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return _mix_int(base ^ label)


def _shift_right(bits: Any, by: int) -> Any:
    """Logical shift: the sign bit does not spread."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _unit_interval(bits: NDArray[np.int64]) -> NDArray[np.float64]:
    """The upper 53 bits as a number in (0, 1)."""
    return (_shift_right(bits, 11) + 0.5) * 2.0**-53


def _remainder(bits: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    return _shift_right(bits, 1) % modulus


def _signed(value: int) -> int:
    value %= _TWO_64
    return value - _TWO_64 if value >= 2**63 else value


def _mix_int(value: int) -> int:
    """SplitMix64's finaliser on a Python int."""
    value = (value + GAMMA) % _TWO_64
    value = ((value ^ (value >> 30)) * (MIX_1 % _TWO_64)) % _TWO_64
    value = ((value ^ (value >> 27)) * (MIX_2 % _TWO_64)) % _TWO_64
    return value ^ (value >> 31)
