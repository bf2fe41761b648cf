"""LDAdam: Adam in a subspace that moves at every step, with moments that follow it and errors that are fed back."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.adamw import bias_correction
from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, counter, itself, namespace
from frugal_theory.config.parts import Count, Decay, Pair, Positive
from frugal_theory.config.registry import Kind

__all__ = ["LDAdam"]


class LDAdam(RuleTable):
    """Of a whole matrix G (of its transpose if it is tall); m̂, v̂ and t are those of the step before::

        G  ← G + E                                              what was left out comes back
        U  = orth(B Bᵀ U_old),  B = ρ U_old m̂ + (1−ρ) G         one power step; singular vectors of G in the first step
        C  = Uᵀ U_old,   g = Uᵀ G
        m′ = C m,        v′ = |(1−β₂ᵗ)((C∘C)(v̂ − m̂²) + (C m̂)²)|
        E  = G − U g + β₁/(1−β₁) (U_old m − U C m)
        m  = β₁m′ + (1−β₁)g,   v = β₂v′ + (1−β₂)g²,   u = U m̂/(√v̂ + ε)

    (Robert et al. 2024, arXiv 2410.16103). orth is QR with R's diagonal positive. A vector has Adam with the same β and ε.
    """

    title: ClassVar[str] = "LDAdam"
    rule: Literal["ldadam"] = "ldadam"
    rank: Count = 16
    """Directions of the basis in which the moments are kept."""
    betas: Pair = (0.908, 0.99)
    """β₁ and β₂, the decays of the moving averages, per step."""
    eps: Positive = 1e-8
    """ε, added to a denominator; in units of the gradient."""
    rho: Decay = 0.908
    """ρ: the weight of the old directions in the power step."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    elementwise: ClassVar[bool] = False
    by_unit: ClassVar[bool] = False

    def init(self, like: Array) -> RuleState:
        """m = v = E = 0, no step counted, and no basis yet."""
        xp = namespace(like)
        count = counter(like)
        if like.ndim < 2:
            return {"exp_avg": xp.zeros_like(like), "exp_avg_sq": xp.zeros_like(like), "count": count}
        length, width = sorted(like.shape)
        rank = min(self.rank, length)

        def zeros(*shape: int) -> Array:
            return xp.zeros(shape, dtype=like.dtype, device=like.device)

        moments = {"exp_avg": zeros(rank, width), "exp_avg_sq": zeros(rank, width)}
        return {**moments, "error": xp.zeros_like(like), "columns": zeros(length, rank), "count": count}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        if g.ndim < 2:
            return self._moved(state["exp_avg"], state["exp_avg_sq"], g, state["count"])
        tall = g.shape[0] > g.shape[1]
        g, error = (g.mT, state["error"].mT) if tall else (g, state["error"])
        g, m = g + error, state["exp_avg"]
        beta_1, beta_2 = self.betas
        if int(state["count"].max()) == 0:
            columns, turned, squares, left_out = _leading(g, m.shape[0]), m, m, 0.0
        else:
            old, before = state["columns"], state["count"]
            mean, square = m / bias_correction(beta_1, before, g), state["exp_avg_sq"] / bias_correction(beta_2, before, g)
            blend = self.rho * (old @ mean) + (1 - self.rho) * g
            columns = _orthonormal(blend @ (blend.mT @ old))
            turn = columns.mT @ old
            turned, expected = turn @ m, (turn * turn) @ (square - mean * mean) + (turn @ mean) ** 2
            squares = namespace(g).abs(bias_correction(beta_2, before, g) * expected)
            left_out = beta_1 / (1 - beta_1) * (old @ m - columns @ turned)
        inside = columns.mT @ g
        error = g - columns @ inside + left_out
        u, new = self._moved(turned, squares, inside, state["count"])
        u = columns @ u
        new = {**new, "error": error.mT if tall else error, "columns": columns}
        return (u.mT if tall else u), new

    def _moved(self, m: Array, v: Array, g: Array, count: Array) -> tuple[Array, RuleState]:
        """Adam's step from moments that stand in the present coordinates."""
        beta_1, beta_2 = self.betas
        count = count + 1
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        scale = namespace(g).sqrt(v / bias_correction(beta_2, count, g)) + self.eps
        return m / bias_correction(beta_1, count, g) / scale, {"exp_avg": m, "exp_avg_sq": v, "count": count}


def _leading(g: Array, rank: int) -> Array:
    """The leading left singular vectors, each with its largest entry positive."""
    xp = namespace(g)
    vectors = xp.linalg.svd(g, full_matrices=False)[0][:, :rank]
    top, bottom = xp.max(vectors, axis=0), -xp.min(vectors, axis=0)
    return vectors * xp.where(top < bottom, -xp.ones_like(top), xp.ones_like(top))


def _orthonormal(x: Array) -> Array:
    """Q of x = QR, the diagonal of R made positive."""
    xp = namespace(x)
    q, r = xp.linalg.qr(x)
    diagonal = xp.sum(r * xp.eye(r.shape[-1], dtype=r.dtype, device=r.device), axis=0)
    return q * xp.where(diagonal < 0, -xp.ones_like(diagonal), xp.ones_like(diagonal))


KIND = Kind(LDAdam, itself)
