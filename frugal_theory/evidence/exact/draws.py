"""The random subspaces of a batch of trials, as the dense recursions of exact evidence take them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.subspaces import Basis, Mask, Part, Shapes, choose_parts
from frugal_theory.config import Algorithm
from frugal_theory.evidence.exact.dense import Inclusion, Turn, known

__all__ = ["Draws"]

Array = NDArray[np.float64]


class Draws:
    """The subspaces that the numbered trials draw, all parameters (vectors) in one: shapes (trials, d) or (trials, d, d).

    ``current`` is what the latest period drew: 1.0 in the momentum set and 0.0 off it, or the projectors.
    """

    def __init__(self, algorithm: Algorithm, shapes: Shapes, trials: NDArray[np.int64]) -> None:
        self.algorithm, self.shapes, self.trials = algorithm, shapes, trials
        self.parts: Mapping[str, Part] = {}
        self.current: Array = np.zeros(0)

    def inclusion(self, period: int) -> Inclusion:
        """The momentum sets of one period, for a subspace of coordinates."""
        members = []
        for name, part in self._choose(period).items():
            assert isinstance(part, Mask)  # a subspace of coordinates
            members.append(np.broadcast_to(part.inside, (len(self.trials), *self.shapes[name])))
        member = np.concatenate(members, axis=-1)
        self.current = member.astype(np.float64)
        return known(member)

    def turn(self, period: int) -> Turn:
        """The projectors of one period, and what momentum goes through as they turn (``on_update``).

        Momentum m = Q m_Q lies in the old subspace; "project" makes it QQᵀm and "keep" gives it the new basis.
        """
        sizes = {name: int(np.prod(shape)) for name, shape in self.shapes.items()}
        n, d = len(self.trials), sum(sizes.values())
        projector, carry = np.zeros((n, d, d)), np.zeros((n, d, d))
        parts, first = self._choose(period), 0
        for name, size in sizes.items():
            here, part, old = slice(first, first + size), parts[name], self.parts.get(name)
            first += size
            if isinstance(part, Mask):  # the whole parameter, whose momentum stays as it is
                projector[:, here, here] = carry[:, here, here] = np.eye(size)
                continue
            projector[:, here, here] = part.columns @ np.swapaxes(part.columns, -1, -2)
            if isinstance(old, Basis) and self.algorithm.on_update == "project":
                carry[:, here, here] = projector[:, here, here]
            elif isinstance(old, Basis) and self.algorithm.on_update == "keep":
                carry[:, here, here] = part.columns @ np.swapaxes(old.columns, -1, -2)
        self.parts, self.current = parts, projector
        return Turn(projector, carry)

    def _choose(self, period: int) -> dict[str, Part]:
        zeros = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        return choose_parts(self.algorithm, self.shapes, period, zeros, self.trials)
