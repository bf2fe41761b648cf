"""Run lengths: how long momentum survives in the momentum set, in law.

The run-length theorem weighs coordinate j at step k by W = 1 − β^r, where r counts the steps, from k on, until the
momentum of j is thrown away. The law of the selection is known, so E[β^r | j in the set] is known too and nothing has
to be looked up in the future: the next period's draw is independent of everything up to now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frugal_theory.algorithm.kinds import Blocks, Drawn, Known, Scheduled, Turned
from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.algorithm.selection import budget, selection_key, trial_keys
from frugal_theory.algorithm.staggering import offsets
from frugal_theory.algorithm.subspaces import (
    Basis,
    Mask,
    Shapes,
    block_sizes,
    blocks_of,
    choose_parts,
    directions,
    members,
    unit_subspace,
)
from frugal_theory.config import Algorithm
from frugal_theory.config.changing import changing
from frugal_theory.config.registry import SUBSPACES

__all__ = ["RunLengths", "contradiction", "run_lengths"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]

NEGLIGIBLE = 1e-18
"""A leak below this share of a gradient is zero in float64."""

DRAWN_COORDINATES, LEAST_DRAWS, MOST_DRAWS = 2**20, 256, 2**16
"""Draws that a declared share is held against: so many coordinates in all, but not fewer and not more draws."""

ORTHONORMALITY = 1e-8
"""How far QᵀQ may be from the identity, by entry, and a share that is certain from what is drawn."""

TAIL = 30.0
"""A true share is contradicted with probability at most 2 exp(−30), about 10⁻¹³, by coordinate."""


@dataclass(frozen=True)
class RunLengths:
    """The law of the momentum set of Algorithm 2, for oblivious selection.

    ``law`` is "fixed" (the set never changes), "redrawn" (a new independent draw every period; each unit is in with
    its ``share``), "scheduled" (a known sequence) or "turning" (a new random basis every period, momentum reset).
    Shares are arrays that broadcast against the parameter: the probability of each coordinate to be in the set, or
    the diagonal of the projector's expectation for a basis.
    """

    algorithm: Algorithm
    shapes: Shapes
    law: str
    share: Mapping[str, Array]

    @property
    def beta(self) -> float:
        """Momentum decay that matters: 0 when the set is empty."""
        rule = self.algorithm.state_full
        return rule.beta if isinstance(rule, Sgdm) and not self.empty else 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing is ever in the set: plain SGD."""
        return self.law == "fixed" and not any(np.any(share) for share in self.share.values())

    @property
    def full(self) -> bool:
        """Whether everything always is: plain SGDM."""
        return self.law == "fixed" and all(np.all(share == 1) for share in self.share.values())

    def probability(self, period: int) -> Arrays:
        """p_j: the share of each coordinate in the set during one period."""
        return _members(self.algorithm, self.shapes, period) if self.law == "scheduled" else dict(self.share)

    def leak(self, step: int, power: int = 1) -> Arrays:
        """E[β^(power·r) | j in the set] at the 0-based step; meaningless, and to be ignored, off the set."""
        gap, beta = self.algorithm.update_gap, self.beta**power
        period, phase = divmod(step, gap)
        to_end = beta ** (gap - phase)
        if self.law == "fixed":
            return {name: np.zeros(()) for name in self.shapes}
        if self.law == "turning":
            return {name: np.where(share == 1, 0.0, to_end) for name, share in self.share.items()}
        if self.law == "redrawn":
            return {name: to_end * (1 - p) / (1 - p * beta**gap) for name, p in self.share.items()}
        return {name: to_end * stay for name, stay in self._scheduled(period, beta**gap).items()}

    def _scheduled(self, period: int, decay: float) -> Arrays:
        """decay^n, n the number of following periods in which each unit stays: 0 if it stays for good."""
        round_ = _round(self.algorithm, self.shapes)
        last = math.inf if round_ is None else period + round_  # what stays for a whole round always does
        stay = {name: np.ones_like(share) for name, share in self.share.items()}
        member = _members(self.algorithm, self.shapes, period)
        factor = 1.0
        while any(np.any(m) for m in member.values()):
            period, factor = period + 1, factor * decay
            following = _members(self.algorithm, self.shapes, period)
            member = {name: m * following[name] for name, m in member.items()}
            stay = {name: np.where(member[name] > 0, factor, stay[name]) for name in stay}
            if factor < NEGLIGIBLE or period >= last:
                return {name: np.where(member[name] > 0, 0.0, stay[name]) for name in stay}
        return stay

    @property
    def turned(self) -> bool:
        """Whether the variance in the set depends on how the noise of coordinates is correlated: on a basis, unless it is
        uniform and drawn anew at every step."""
        return self.mixes and not (self._uniform and self.algorithm.update_gap == 1)

    @property
    def mixes(self) -> bool:
        """Whether the set is spanned by a basis that mixes coordinates."""
        return self.law in ("fixed", "turning") and any(np.any(_mixed(share)) for share in self.share.values())

    @property
    def _uniform(self) -> bool:
        """Whether the projector's expectation is ρI, with nothing off its diagonal: of the bases here, the random one's is."""
        return self.law == "turning" and not SUBSPACES.is_added(self.algorithm.subspace)

    def reach(self, step: int, uncorrelated: bool = False) -> Arrays:
        """The largest E tr(ΠΣ), as shares of the σ_j²: for every covariance Σ with those on its diagonal, at the 0-based step.

        p_j for coordinates that are in the set or not. On a basis that is tr(ΠΣ) = Σ Π_jjΣ_jj if Σ is diagonal (the noise is
        ``uncorrelated``), and anything from 0 to Σσ_j² if not: of a coordinate that the basis mixes with others all of σ_j².
        On the first step of a period x is independent of a basis that is drawn then, and E tr(ΠΣ) = tr(E Π EΣ) = ρσ².
        """
        gap = self.algorithm.update_gap
        share = self.probability(step // gap)
        if uncorrelated or self.law not in ("fixed", "turning") or (self._uniform and step % gap == 0):
            return share
        return {name: np.where(_mixed(p), 1.0, p) for name, p in share.items()}

    def noise(self, variance: Mapping[str, Array], steps: int, uncorrelated: bool = False) -> tuple[Array, Array]:
        """E Σ_j (W_jᵏ)²σ_j² over all coordinates and over those in the set, for k = 1 … steps; shape (steps,) each.

        Off the set W is the state-free rule's ``lr_scale`` (0 for the rule "none"). On a basis these are E tr(WΣW) and
        E tr(WΠΣΠW), or the largest that they may be if the noise is not known to be ``uncorrelated`` (:meth:`reach`).
        """
        gap = self.algorithm.update_gap
        everything, inside = np.empty(steps), np.empty(steps)
        periodic = self.law != "scheduled"  # then only the phase within the period matters
        known: dict[int, tuple[float, float]] = {}
        for k in range(steps):
            where = 0 if self.law == "fixed" else k % gap if periodic else k
            if where not in known:
                known[where] = self._noise_at(variance, k, uncorrelated)
            everything[k], inside[k] = known[where]
        return everything, inside

    def _noise_at(self, variance: Mapping[str, Array], step: int, uncorrelated: bool) -> tuple[float, float]:
        once, twice, share = self.leak(step), self.leak(step, 2), self.probability(step // self.algorithm.update_gap)
        reach, free = self.reach(step, uncorrelated), self.off_set_weight**2
        everything = inside = 0.0
        for name, sigma2 in variance.items():
            squared_weight = 1 - 2 * once[name] + twice[name]
            known = share[name] * squared_weight + (1 - share[name]) * free
            largest = np.where(reach[name] == share[name], known, np.maximum(squared_weight, free))
            inside += float(np.sum(reach[name] * squared_weight * sigma2))
            everything += float(np.sum(largest * sigma2))
        return everything, inside

    @property
    def off_set_weight(self) -> float:
        """W off the set: what of the gradient the state-free rule applies; 0 for a rule that has no ``lr_scale``."""
        free = self.algorithm.state_free
        return 0.0 if free.rule == "none" else float(getattr(free, "lr_scale", 0.0))


def run_lengths(algorithm: Algorithm, shapes: Shapes, bases: Mapping[str, Array] | None = None) -> RunLengths | None:
    """The law of the algorithm's momentum set; None if it depends on the noise (svd of the stochastic gradient), or if
    it is unknown (an added subspace that does not declare its share, bases that are refreshed one after another, a density or
    an update gap that changes). A draw that
    leaves nothing open is fixed."""
    runs = _law(algorithm, shapes, bases)
    if runs is None or runs.law == "scheduled" or any(np.any((share > 0) & (share < 1)) for share in runs.share.values()):
        return runs
    return RunLengths(algorithm, shapes, "fixed", runs.share)


def _law(algorithm: Algorithm, shapes: Shapes, bases: Mapping[str, Array] | None) -> RunLengths | None:
    kind, density = algorithm.subspace, algorithm.density
    if changing(algorithm):
        return None
    if any(offsets(algorithm, shapes).values()):  # bases that change one after another: no law here speaks of them
        return None
    subspace: Any = unit_subspace(algorithm) or blocks_of(algorithm.subspace, algorithm.order) or SUBSPACES[kind]
    if algorithm.set is not None or density in (0.0, 1.0) or _round(algorithm, shapes) == 1:
        return RunLengths(algorithm, shapes, "fixed", _members(algorithm, shapes, 0))
    if isinstance(subspace, Scheduled) or (isinstance(subspace, Blocks) and subspace.scheduled):
        return RunLengths(algorithm, shapes, "scheduled", _members(algorithm, shapes, 0))
    if isinstance(subspace, Known):
        zeros = {name: np.zeros(shape) for name, shape in shapes.items()}
        parts = choose_parts(algorithm, shapes, 0, zeros, bases=bases)
        share = {name: _diagonal(part) for name, part in parts.items()}
        return RunLengths(algorithm, shapes, "fixed", share)
    if subspace.share is None:
        return None
    if isinstance(subspace, Drawn):
        share = {name: _checked_share(kind, subspace.share(shape, density), shape) for name, shape in shapes.items()}
        return RunLengths(algorithm, shapes, "redrawn", share)
    if isinstance(subspace, Blocks):
        sizes, block_of = block_sizes(algorithm, shapes)
        shares = np.broadcast_to(subspace.share(sizes, density), sizes.shape)[block_of]
        share = {name: _checked_share(kind, s, ()) for name, s in zip(shapes, np.asarray(shares), strict=True)}
        return RunLengths(algorithm, shapes, "redrawn", share)
    sides = {name: directions(algorithm, shape)[1:] for name, shape in shapes.items()}  # (length, rank) of each basis
    share = {name: np.asarray(subspace.share(n, rank) if rank < n else 1.0) for name, (n, rank) in sides.items()}
    return RunLengths(algorithm, shapes, "turning", share)


def contradiction(algorithm: Algorithm, shapes: Shapes) -> str | None:
    """What draws say against the law that an added subspace declares, as the end of a sentence; None if nothing.

    The built-in subspaces are proven by the tests; one from outside is held against its own draws: the same arguments
    must give the same set, trial 0 that of a single run, and the frequency of every coordinate must fit the share. The
    directions of a basis must be orthonormal, and the diagonal of the mean projector must fit.
    """
    units, turned = unit_subspace(algorithm), SUBSPACES[algorithm.subspace]
    if not SUBSPACES.is_added(algorithm.subspace) or algorithm.set is not None or algorithm.density in (0.0, 1.0):
        return None
    for name, shape in shapes.items():
        key = selection_key(algorithm.seed or 0, name, 0)
        if units is not None:
            said = _against_units(units, key, shape, algorithm.density)
        elif isinstance(turned, Turned):
            said = _against_basis(turned, key, shape, *directions(algorithm, shape))
        else:
            return None
        if said is not None:
            return f'subspace "{algorithm.subspace}" {said} (parameter {name})'
    return None


def _against_units(units: Drawn | Scheduled, key: int, shape: tuple[int, ...], density: float) -> str | None:
    once, twice = ([members(units, key, period, shape, density) for period in range(4)] for _ in range(2))
    if not all(np.array_equal(a, b) for a, b in zip(once, twice, strict=True)):
        return "gives two sets for the same arguments"
    if isinstance(units, Scheduled):
        return None
    trials = np.arange(min(MOST_DRAWS, max(LEAST_DRAWS, DRAWN_COORDINATES // max(1, math.prod(shape)))))
    drawn = members(units, trial_keys(key, trials), 0, shape, density)
    drawn = np.broadcast_to(drawn, (len(trials), *shape))
    if not np.array_equal(drawn[0], np.broadcast_to(once[0], shape)):
        return "gives trial 0 another set than a single run"
    if units.share is None:
        return None
    share = np.broadcast_to(np.asarray(units.share(shape, density), dtype=float), shape)
    return _against_share(share, drawn.mean(axis=0), len(trials))


def _against_basis(turned: Turned, key: int, shape: tuple[int, ...], side: str, length: int, rank: int) -> str | None:
    if turned.share is None or rank == length or (turned.matrix and len(shape) < 2):
        return None
    trials = np.arange(min(MOST_DRAWS, max(LEAST_DRAWS, DRAWN_COORDINATES // (length * rank))))
    zeros = np.zeros((len(trials), *shape))
    columns = np.asarray(turned.columns(trial_keys(key, trials), zeros, side, rank))
    if columns.shape != (len(trials), length, rank):
        return f"gives columns of shape {columns.shape}; {(len(trials), length, rank)} is allowed"
    if not np.abs(np.swapaxes(columns, -1, -2) @ columns - np.eye(rank)).max() < ORTHONORMALITY:
        return "gives directions that are not orthonormal"
    share = np.broadcast_to(np.asarray(turned.share(length, rank), dtype=float), (length,))
    return _against_share(share, np.mean(np.sum(columns**2, axis=-1), axis=0), len(trials))


def _against_share(share: Array, frequency: Array, draws: int) -> str | None:
    """Whether means over so many draws of numbers in [0, 1] are off the share that is declared for them."""
    certain = (share == 0) | (share == 1)
    spread = np.sqrt(2 * share * (1 - share) * TAIL / draws) + TAIL / (3 * draws)  # Bernstein's inequality
    beyond = np.abs(frequency - share) - np.where(certain, ORTHONORMALITY, spread)
    if np.any(beyond > 0):
        worst = np.unravel_index(int(np.argmax(beyond)), share.shape)
        return f"declares the share {share[worst]:.4g} of a coordinate that {frequency[worst]:.4g} of its draws have"
    return None


def _round(algorithm: Algorithm, shapes: Shapes) -> int | None:
    """Periods after which the schedule of the built-in blocks begins again: 1 if their set never changes. None for others."""
    scheduled = algorithm.subspace == "blocks" and algorithm.order != "random" and algorithm.set is None
    if not scheduled or SUBSPACES.is_added(algorithm.subspace):
        return None
    sizes, _ = block_sizes(algorithm, shapes)
    total = int(sizes.sum())
    window = budget(algorithm.density, total)
    if window in (0, total):
        return 1
    return 2 * -(-total // window) if algorithm.order == "mirror" else total // math.gcd(window, total)


def _mixed(share: Array) -> NDArray[np.bool_]:
    """The coordinates that a basis mixes with others: neither in it nor orthogonal to it."""
    result: NDArray[np.bool_] = (share > 0) & (share < 1)
    return result


def _checked_share(kind: str, share: ArrayLike, shape: tuple[int, ...]) -> Array:
    """The declared share as an array. Raises ValueError unless it is made of probabilities and fits the parameter."""
    array = np.asarray(share, dtype=float)
    fits = array.ndim <= len(shape) and all(a in (1, b) for a, b in zip(array.shape[::-1], shape[::-1], strict=False))
    if not fits or not np.all((array >= 0) & (array <= 1)):
        raise ValueError(
            f'subspace "{kind}" declares the share {array} for a parameter of shape {shape}; '
            "numbers from 0 to 1 that broadcast to that shape are allowed"
        )
    return array


def _members(algorithm: Algorithm, shapes: Shapes, period: int) -> Arrays:
    """1.0 in the set and 0.0 off it, for selections that are not random."""
    parts = choose_parts(algorithm, shapes, period, {})
    return {name: part.inside.astype(float) for name, part in parts.items() if isinstance(part, Mask)}


def _diagonal(part: Mask | Basis) -> Array:
    """The diagonal of the projector onto the part."""
    if isinstance(part, Mask):
        return part.inside.astype(float)
    return np.sum(part.columns**2, axis=-1)
