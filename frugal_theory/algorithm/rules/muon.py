"""Muon: the momentum of a matrix, orthogonalised."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Count, Decay, Positive
from frugal_theory.config.registry import Kind

__all__ = ["Muon"]

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of X ← aX + b(XXᵀ)X + c(XXᵀ)²X, which takes singular values from (0, 1] to about 1."""


class Muon(RuleTable):
    """m ← μm + (1−μ)g,  n = μm + (1−μ)g,  u = √max(1, rows/columns) · NS(n)  (Jordan et al. 2024; torch.optim.Muon).

    NS is ``steps`` Newton–Schulz steps on n/(‖n‖ + ε), on the transpose of a tall matrix. A vector, which has no singular
    vectors but itself, moves along n/(‖n‖ + ε).
    """

    title: ClassVar[str] = "Muon"
    rule: Literal["muon"] = "muon"
    beta: Decay = 0.95
    """μ, the decay of the momentum, per step."""
    steps: Count = 5
    """Newton–Schulz steps."""
    eps: Positive = 1e-7
    """ε, added to a denominator; in units of the gradient."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("momentum",)
    elementwise: ClassVar[bool] = False

    def init(self, like: Array) -> RuleState:
        """m = 0."""
        return {"momentum": namespace(like).zeros_like(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        momentum = self.beta * state["momentum"] + (1 - self.beta) * g
        ahead = self.beta * momentum + (1 - self.beta) * g
        xp = namespace(g)
        x = ahead / (xp.sqrt(xp.sum(ahead * ahead)) + self.eps)
        if g.ndim < 2:
            return x, {"momentum": momentum}
        rows, columns = g.shape
        return max(1.0, rows / columns) ** 0.5 * self._orthogonalised(x), {"momentum": momentum}

    def _orthogonalised(self, x: Array) -> Array:
        a, b, c = NEWTON_SCHULZ
        tall = x.shape[0] > x.shape[1]
        x = x.mT if tall else x
        for _ in range(self.steps):
            square = x @ x.mT
            x = a * x + (b * square + c * (square @ square)) @ x
        return x.mT if tall else x


KIND = Kind(Muon, itself)
