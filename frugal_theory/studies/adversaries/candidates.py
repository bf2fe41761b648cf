"""What genes stand for: a function, a noise and a method, each number spelled out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Algorithm
from frugal_theory.instance import Instance
from frugal_theory.problems import Quadratic
from frugal_theory.problems.partition import Partition
from frugal_theory.studies.adversaries.families import Family
from frugal_theory.studies.adversaries.noise import TURNS, TwoPoint
from frugal_theory.studies.adversaries.piecewise import Curve, Folded, Piecewise
from frugal_theory.theorems import Theorem
from frugal_theory.theorems.theorem import spared_premises

__all__ = ["REGIMES", "Candidate", "Space", "regimes_of"]

Array = NDArray[np.float64]

SMOOTHNESS, DEVIATION = 1.7, 0.6
"""L and σ. Scaling f and x gives any others; a constant that is missing in a bound would show, as these are not 1."""

MOST_STEPS, MOST_NODES = 6, 1100
"""K, and the nodes of its last step: K is less where sets branch much."""

PIECES = {1: 3, 2: 2, 4: 1}
"""Of each curve on either side of x¹, and the tails: by dimension."""

SLOWEST, MOST_MOMENTUM = 2.0, 0.997
"""Decades below the largest step, and the largest β."""

REGIMES = ("anything", "noise alone", "momentum")
"""What is searched: everything; noise, from where ∇f is 0; β ≥ ½. Most bounds are attained by one parabola without noise or
momentum, and a search of everything ends there: what the other terms of a bound are worth shows when that is excluded."""


def regimes_of(family: Family) -> tuple[str, ...]:
    """Those that differ for the family."""
    apart = {"noise alone": family.noise != "none", "momentum": "beta" in family.free}
    return tuple(regime for regime in REGIMES if apart.get(regime, True))


@dataclass(frozen=True)
class Candidate:
    """An instance, its learning rate in numbers, or why the theorem does not speak of it."""

    instance: Instance
    excuse: str | None
    words: str


class Space:
    """The instances of a family that genes in [0, 1]ⁿ stand for, as far as a theorem covers them."""

    def __init__(self, family: Family, theorem: Theorem, regime: str = "anything") -> None:
        self.family, self.theorem, self.regime = family, theorem, regime
        d = family.dimension
        self.pieces, self.chances = PIECES[d], MOST_STEPS if d == 1 else 1
        sizes = {
            "method": len(family.free) + 1,
            "turn": 1 if family.rotated else 0,
            "noise": 0 if family.noise == "none" else self.chances + 2 + 2 * d,
            "curves": (d if family.quadratic else d * (4 * self.pieces + 3)) + d,
        }
        self.sizes = {part: size for part, size in sizes.items() if size}
        self.size = sum(self.sizes.values())

    def candidate(self, genes: Array) -> Candidate:
        """The instance of these genes."""
        ends = np.cumsum(list(self.sizes.values()))
        pieces = dict(zip(self.sizes, np.split(np.clip(genes, 0, 1), ends[:-1]), strict=True))
        numbers = dict(zip(self.family.free, pieces["method"][1:], strict=True))
        algorithm, steps = self._method(numbers)
        noise = self._noise(pieces.get("noise", np.zeros(0)), steps)
        rotation = _rotation(pieces["turn"][0]) if "turn" in pieces else None
        shape = pieces["curves"]
        draft = Instance.of_parts(self._problem(shape, rotation, noise, 1.0), noise, algorithm, steps=steps)
        excuse = self.theorem.covers(draft.setting)
        if excuse is None and draft.setting.runs is None and "P6" not in spared_premises(self.theorem):
            excuse = "premise P6 fails: the set depends on the noise"
        if excuse is not None:
            return Candidate(draft, excuse, "")
        alpha = self._step(draft, float(pieces["method"][0]), noise)
        problem = self._problem(shape, rotation, noise, alpha * self._reach(algorithm, shape, noise))
        made = algorithm.model_copy(update={"learning_rate": alpha})
        instance = Instance.of_parts(problem, noise, made, learning_rate=alpha, steps=steps)
        excuse = self.theorem.covers(instance.setting)
        largest, admitted = self.theorem.largest_step(instance.setting)
        if excuse is None and not (alpha < largest or (admitted and alpha == largest)):
            excuse = "the step is too large"
        return Candidate(instance, excuse, _words(instance))

    def points(self, count: int, seed: int) -> Array:
        """Where a search begins: at random, and for a half on parabolas and slopes, which are worst for simple methods."""
        found = np.random.default_rng(seed).random((count, self.size))
        d, ends = self.family.dimension, np.cumsum(list(self.sizes.values()))
        first = dict(zip(self.sizes, ends - list(self.sizes.values()), strict=True))
        for number in range(count // 2):
            begin = first["curves"]
            found[number, begin + d :] = 0.5 if number % 5 == 4 else 0.98
            found[number, begin : begin + d] = (0.0, 0.4, 0.6, 0.9)[number % 4]
            if "noise" in first:  # none, or as loud as it may be everywhere and in every coordinate
                at = first["noise"]
                found[number, at : at + 2] = (0.0, 0.9) if number % 4 == 1 else (0.9, 0.9)
                found[number, at + 2 + self.chances : begin] = [0.98] * d + [(0.1, 0.5)[number % 3 == 2]] * d
            if "turn" in first:
                found[number, first["turn"]] = (0.75, 0.2)[number % 2]
        return np.asarray(found)

    # --- the parts ------------------------------------------------------------------------------------------------

    def _method(self, numbers: dict[str, float]) -> tuple[Algorithm, int]:
        """The algorithm, and as many steps as its tree allows."""
        table: dict[str, Any] = dict(self.family.table)
        if "beta" in numbers:
            least = 0.5 if self.regime == "momentum" else 0.0
            beta = least + (MOST_MOMENTUM - least) * numbers["beta"] ** 2
            table["state_full"] = {"rule": table["state_full"], "beta": beta}
        if "betas" in numbers:
            second = 1 - 10 ** (-3 * numbers["betas"])
            first = max(0.0, 0.95 * second * (2 * numbers["betas"] - 1))
            table["state_full"] = {"rule": table["state_full"], "betas": (first, second), "eps": 1e-3}
        if "decay" in numbers:
            table["weight_decay"] = SMOOTHNESS * 10 ** (2 * numbers["decay"] - 2)
        if "scale" in numbers:
            signs = table["state_free"] == "signsgd"
            scale = 10 ** (2 * numbers["scale"] - 1) if signs else min(1.0, 2 * numbers["scale"] + 1e-3)
            table["state_free"] = {"rule": table["state_free"], "lr_scale": scale}
        if "density" in numbers:
            table["density"] = 0.02 + 0.96 * numbers["density"]
        gap = 1
        if "update_gap" in numbers:
            gap = 1 + min(MOST_STEPS - 1, int(MOST_STEPS * numbers["update_gap"] ** 2))
        algorithm = Algorithm.model_validate({"learning_rate": 1.0, **table, "update_gap": gap})
        sets = self._sets(algorithm)
        noises = (
            1 if self.family.noise == "none" else 2 if self.family.together and not self._by_signs else 2**self.family.dimension
        )
        steps = MOST_STEPS
        while steps > 1 and sets ** -(-steps // gap) * noises ** (steps - 1) > MOST_NODES:
            steps -= 1
        return algorithm, steps

    @property
    def _by_signs(self) -> bool:
        return self.family.noise == "gauss"

    def _sets(self, algorithm: Algorithm) -> int:
        from frugal_theory.studies.adversaries.tree import choices

        d, blocks = self.family.dimension, self.family.blocks
        split = Folded(*blocks) if isinstance(blocks, tuple) else Partition(d, blocks)
        return len(choices(algorithm, split.shapes, {"x": np.eye(d)}))

    def _noise(self, genes: Array, steps: int) -> TwoPoint:
        d = self.family.dimension
        if not genes.size or (genes[0] < 0.15 and self.regime != "noise alone"):
            return TwoPoint(np.zeros(d), (0.5,) * steps, ("fixed",) * d, math.inf, True, self._by_signs)
        chances = genes[2 : 2 + steps] if self.chances > 1 else np.full(steps, genes[2])
        end = 2 + self.chances
        share = np.maximum(genes[end : end + d] - 1 / 3, 0)
        share = share / share.max() if share.max() > 0 else np.ones(d)
        turn = tuple(TURNS[min(int(gene * len(TURNS)), len(TURNS) - 1)] for gene in genes[end + d :])
        loudest = math.inf if genes[1] > 0.6 else 10 ** (4 * float(genes[1]) - 1.2)
        odds = 0.02 + 0.98 * chances if self._by_signs else 0.02 + 0.96 * chances
        return TwoPoint(DEVIATION * share, tuple(float(q) for q in odds), turn, loudest, self.family.together, self._by_signs)

    def _heights(self, genes: Array, noise: TwoPoint) -> Array:
        """φ_i′(0): 0, or from a hundredth to a hundred times σ (1 without noise)."""
        unit = DEVIATION if np.any(noise.sigma) else 1.0
        heads = genes[: self.family.dimension] * (self.regime != "noise alone")
        return np.where(heads < 0.12, 0.0, unit * 10 ** (4 * (heads - 0.12) / 0.88 - 2))

    def _reach(self, algorithm: Algorithm, genes: Array, noise: TwoPoint) -> float:
        """How far the first step goes, over α."""
        signs = algorithm.state_free.rule == "signsgd"
        size = float(np.linalg.norm(self._heights(genes, noise)) + np.linalg.norm(noise.sigma))
        if algorithm.state_full.rule in ("adamw", "adagrad", "lion"):
            return 1.0
        return max(float(algorithm.state_free.lr_scale) if signs else 0.0, 0.0 if signs and algorithm.density == 0 else size)

    def _step(self, draft: Instance, gene: float, noise: TwoPoint) -> float:
        largest, admitted = self.theorem.largest_step(draft.setting)
        if math.isfinite(largest):
            return largest * (1.0 if admitted else 0.999) * 10 ** (-SLOWEST * (1 - gene))
        size = DEVIATION if np.any(noise.sigma) else 1.0
        return float(size / SMOOTHNESS * 10 ** (4 * gene - 3))

    def _problem(self, genes: Array, rotation: Array | None, noise: TwoPoint, unit: float) -> Any:
        d, rest = self.family.dimension, genes[self.family.dimension :]
        heights = self._heights(genes, noise)
        if self.family.quadratic:
            values = SMOOTHNESS * np.maximum(1e-3, rest / max(rest.max(), 1e-3))
            return Quadratic(values, rotation, tuple(heights / values))
        curves, steepest = [], []
        for own, height in zip(np.split(rest, d), heights, strict=True):
            smooth = SMOOTHNESS * (1.0 if d == 1 or own[0] > 0.5 else 0.02 + 0.98 * 2 * own[0])
            n = self.pieces
            lengths = unit * 10 ** (1.8 * own[1 : 1 + 2 * n] - 1.2)
            curvature = smooth * np.clip(2.6 * own[1 + 2 * n :] - 1.3, -1, 1)
            if self.family.shape == "convex":
                curvature = np.maximum(np.abs(curvature), 0.02 * smooth)
            bounded = self.family.shape == "bounded"
            tails = (0.0, 0.0) if bounded else (float(abs(curvature[-2])), float(abs(curvature[-1])))
            left, right = (list(zip(lengths[i : i + n], curvature[i : i + n], strict=True)) for i in (0, n))
            curves.append(Curve.walked(float(height), left, right, tails, smooth))
            steepest.append(smooth)
        return Piecewise(curves, steepest, rotation, self.family.blocks)


def _rotation(gene: float) -> Array | None:
    """The plane turned by up to a right angle; not at all for half of the genes."""
    if gene < 0.5:
        return None
    angle = np.pi / 2 * (2 * gene - 1)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _words(instance: Instance) -> str:
    """The method's numbers, for a table."""
    setting = instance.setting
    algorithm, noise = setting.algorithm, instance.noise
    facts = [f"αL = {setting.alpha * setting.smoothness:.3g}"]
    if setting.beta:
        facts.append(f"β = {setting.beta:.3g}")
    if algorithm.state_free.rule != "none" and algorithm.state_free.lr_scale != 1:
        facts.append(f"s = {algorithm.state_free.lr_scale:.3g}")
    if setting.runs is not None and setting.runs.law == "redrawn" and algorithm.subspace == "coordinates":
        facts.append(f"p = {algorithm.density:.3g}")
    if setting.runs is not None and setting.runs.law != "fixed":
        facts.append(f"T = {algorithm.update_gap}")
    assert isinstance(noise, TwoPoint)
    facts.append(
        "no noise"
        if not np.any(noise.sigma)
        else "noise alone"
        if setting.gap == 0
        else f"Δ/σ² = {setting.gap / setting.total_variance:.3g}"
    )
    return ", ".join(facts)
