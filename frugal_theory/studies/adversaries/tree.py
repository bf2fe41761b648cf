"""Everything that may happen in a few steps, with its probability: sets, noise, and what the algorithm makes of both.

The rules are the toolkit's own (``Split`` of a state-full and a state-free rule); what is enumerated here is the chance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.combine import Split
from frugal_theory.algorithm.rules import rule_of
from frugal_theory.algorithm.subspaces import Basis, Mask, Part, choose_parts
from frugal_theory.config import Algorithm
from frugal_theory.instance import Instance
from frugal_theory.metrics import Metric
from frugal_theory.studies.adversaries.noise import TwoPoint

__all__ = ["DIRECTIONS", "Tree", "choices"]

Array = NDArray[np.float64]
Parts = dict[str, Part]

DIRECTIONS = 4
"""A random direction of the plane is one of so many at equal angles: E Π = ½I as for a uniform one, and no proof uses more."""


def choices(algorithm: Algorithm, shapes: Mapping[str, tuple[int, ...]], bases: Mapping[str, Array] | None) -> list[Any]:
    """(probability, parts) of the draws of one period, the parts as a function of its number; None if the gradient decides.

    Raises ValueError for a subspace whose draws are not known here.
    """
    dimension = sum(math.prod(shape) for shape in shapes.values())
    kind, density = algorithm.subspace, algorithm.density
    settled = algorithm.set is not None or density in (0.0, 1.0) or kind == "eigen"
    if settled or (kind == "blocks" and algorithm.order != "random"):
        return [(1.0, lambda period: choose_parts(algorithm, shapes, period, _zeros(shapes), bases=bases))]
    if kind == "coordinates" and algorithm.sampling == "independent":
        members = itertools.product((True, False), repeat=dimension)
        return [(density ** sum(m) * (1 - density) ** (dimension - sum(m)), _mask(m)) for m in members]
    if kind == "coordinates":
        size = max(1, int(density * dimension + 0.5))
        found = list(itertools.combinations(range(dimension), size))
        return [(1 / len(found), _mask(tuple(j in chosen for j in range(dimension)))) for chosen in found]
    if kind == "random" and dimension == 2:
        angles = np.pi * (np.arange(DIRECTIONS) + 0.3) / DIRECTIONS
        columns = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[..., None]
        return [(1 / DIRECTIONS, lambda _, c=c: {"x": Basis(c, "vector")}) for c in columns]
    if kind == "svd":
        return [(1.0, None)]
    raise ValueError(f'the draws of subspace "{kind}" in {dimension} dimensions are not enumerated')


@dataclass
class Tree:
    """The nodes of one depth: where the algorithm may be, with what probability, and its state there.

    Arrays have a leading axis of nodes. ``place``: x; ``parts``: those in use; ``state``: of the state-full rule, by parameter.
    """

    instance: Instance
    chance: Array
    place: Mapping[str, Array]
    parts: Parts
    state: Mapping[str, Mapping[str, Array]]

    @classmethod
    def of(cls, instance: Instance) -> Tree:
        """The root."""
        place = {name: value[None].copy() for name, value in instance.start.items()}
        return cls(instance, np.ones(1), place, {}, {})

    def expectation(self, metric: Metric) -> Array:
        """(1/k) Σ_{i≤k} E metric(∇f(xⁱ)), k = 1 … K: over every set and every noise; shape (K,). Consumes the tree."""
        setting = self.instance.setting
        options = choices(setting.algorithm, setting.shapes, self.instance.bases)
        found = np.empty(setting.steps)
        for step in range(setting.steps):
            if step % setting.algorithm.update_gap == 0:
                self._choose(options, step // setting.algorithm.update_gap)
            gradient = setting.problem.gradient(self.place)
            here = metric.at(self.place) if hasattr(metric, "at") else metric
            found[step] = self.chance @ here(gradient, self.parts, setting.runs, step)
            if step < setting.steps - 1:
                self._move(step, gradient)
        return np.asarray(np.cumsum(found) / setting.horizons)

    def signs(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which coordinates, shape (nodes, d), the rules see by their sign alone."""
        if self.instance.setting.algorithm.state_free.rule != "signsgd":
            return np.zeros(shape, dtype=bool)
        inside = {
            name: np.broadcast_to(part.inside, self.place[name].shape) if isinstance(part, Mask) else np.ones(shape, dtype=bool)
            for name, part in self.parts.items()
        }
        return ~np.asarray(self.instance.problem.partition.join(inside))  # type: ignore[attr-defined]

    def _choose(self, options: list[Any], period: int) -> None:
        """A new set: every node has a child for each."""
        algorithm, nodes = self.instance.setting.algorithm, len(self.chance)
        if options[0][1] is None:
            return
        chosen = [parts(period) for _, parts in options]
        rule = rule_of(algorithm.state_full)
        old = self.parts
        self._branch([np.full(nodes, chance) for chance, _ in options])
        self.parts = {name: _joined([parts[name] for parts in chosen], nodes) for name in self.place}
        for name, part in self.parts.items():
            turned = isinstance(part, Basis) and algorithm.subspace != "eigen"
            if name not in old or turned:
                self.state = {**self.state, name: rule.init(part.project(self.place[name]))}
            elif isinstance(part, Mask):
                self.state = {**self.state, name: {key: v * part.inside for key, v in self.state[name].items()}}

    def _choose_by(self, seen: Mapping[str, Array], period: int) -> None:
        """A new set that the stochastic gradient decides."""
        algorithm = self.instance.setting.algorithm
        rule, shapes = rule_of(algorithm.state_full), self.instance.problem.shapes
        self.parts = choose_parts(algorithm, shapes, period, seen, np.arange(len(self.chance)))
        self.state = {name: rule.init(part.project(seen[name])) for name, part in self.parts.items()}

    def _move(self, step: int, gradient: Mapping[str, Array]) -> None:
        """A step of the algorithm: every node has a child for each outcome of the noise."""
        setting = self.instance.setting
        noise, problem = setting.noise, setting.problem
        assert isinstance(noise, TwoPoint)
        split = problem.partition  # type: ignore[attr-defined]
        slope = split.join(gradient)
        outcomes = noise.outcomes(step, split.join(self.place), slope, self.signs(slope.shape))
        self._branch([chance for chance, _ in outcomes])
        seen = split.split(np.concatenate([value for _, value in outcomes]))
        full, free = rule_of(setting.algorithm.state_full), rule_of(setting.algorithm.state_free)
        if setting.runs is None and step % setting.algorithm.update_gap == 0:
            self._choose_by(seen, step // setting.algorithm.update_gap)
        place, state = {}, {}
        for name, part in self.parts.items():
            rule = Split(part, full, free, "reset")
            update, new = rule.update({"full": self.state[name], "free": {}}, seen[name])
            kept = 1 - setting.alpha * setting.algorithm.weight_decay
            place[name], state[name] = kept * self.place[name] - setting.alpha * update, new["full"]
        self.place, self.state = place, state
        self._keep(self.chance > 0)

    def _branch(self, chances: list[Array]) -> None:
        """As many copies of every node, each with its probability."""
        copies = len(chances)
        self.chance = np.concatenate([self.chance * chance for chance in chances])
        if copies > 1:
            self._each(lambda value: np.tile(value, (copies, *(1,) * (np.ndim(value) - 1))))

    def _keep(self, alive: NDArray[np.bool_]) -> None:
        """Without the nodes that cannot be."""
        if not alive.all():
            self.chance = self.chance[alive]
            self._each(lambda value: value[alive])

    def _each(self, of: Any) -> None:
        """The same done to every array that has an axis of nodes."""
        self.place = {name: of(value) for name, value in self.place.items()}
        self.state = {name: {key: of(value) for key, value in state.items()} for name, state in self.state.items()}
        self.parts = {name: _mapped(part, of) for name, part in self.parts.items()}


def _zeros(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    return {name: np.zeros(shape) for name, shape in shapes.items()}


def _mask(members: tuple[bool, ...]) -> Any:
    return lambda _: {"x": Mask(np.array(members))}


def _joined(parts: list[Part], nodes: int) -> Part:
    """The parts, each for as many nodes, one after the other."""
    if isinstance(parts[0], Basis):
        columns = [part.columns for part in parts if isinstance(part, Basis)]
        return Basis(np.repeat(np.stack(columns), nodes, axis=0), parts[0].side)
    inside = [np.atleast_1d(part.inside) for part in parts if isinstance(part, Mask)]
    return Mask(np.repeat(np.stack(inside), nodes, axis=0))


def _mapped(part: Part, of: Any) -> Part:
    return Basis(of(part.columns), part.side) if isinstance(part, Basis) else Mask(of(part.inside))
