"""Corollary of the run-length theorem: oblivious orthogonal subspaces, turned every T steps."""

from __future__ import annotations

from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.setting import Setting

__all__ = ["OrthogonalSubspaces"]


class OrthogonalSubspaces(RunLength):
    """Random projections Π_k held for T steps and reset, of a share ρ of the space: W = I − β^r Π_k as an operator, and::

        avg E⟨gᵏ, Wᵏgᵏ⟩ ≤ [ Δ/(Kα) + (Lασ²/2)( 1 − ρ + ρ(1 + √2 β/(1+β)) avg (1 − β^r)² ) ] / (1 − Lα(1/2 + √2 β/(1−β)))

    because E tr(WΣW) = σ²(1 − ρ) + ρσ²(1 − β^r)² for a projector with E Π = ρI and noise whose coordinates are uncorrelated
    at every x, or for T = 1. r runs T, T−1 … 1 in every period. Noise that is correlated may lie in the basis, once x
    has followed the basis: E tr(ΠΣ) = ρσ² on the first step of a period, and up to σ² on all others::

        avg E⟨gᵏ, Wᵏgᵏ⟩ ≤ [ Δ/(Kα) + (Lασ²/2)( 1 + (√2 β/(1+β)) avg (1 − β^r)² ) ] / (1 − Lα(1/2 + √2 β/(1−β)))     (s = 1)

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("orthogonal_subspaces", (1.0, 0.5), density=0.5, update_gap=1, subspace="random")
    (0.211, 2.21)
    """

    name = "orthogonal_subspaces"
    title = "Corollary: oblivious orthogonal subspaces"
    short_name = "run-length, random bases"
    label = "random basis"
    statement = (
        "avg E⟨gᵏ, Wᵏgᵏ⟩ ≤ [Δ/(Kα) + (Lασ²/2)(1 − ρ + ρ(1 + √2β/(1+β)) avg (1 − β^r)²)] / (1 − Lα(1/2 + √2β/(1−β)))"
        "   for W = I − β^rΠ, r = T … 1; T = 1 or uncorrelated noise coordinates, else 1 + √2β/(1+β) avg (1 − β^r)²"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\langle g^k,W^kg^k\rangle\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha\sigma^2}{2}\Bigl(1-\rho+\rho\Bigl(1+\frac{\sqrt{2}\beta}{1"
        r"+\beta}\Bigr)\operatorname{avg}(1-\beta^r)^2\Bigr)}{1-L\alpha\Bigl(\frac{1}{2}"
        r"+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)}"
        "\n"
        r"\text{for }W=I-\beta^r\Pi,\quad r=T\ldots1;\quad T=1\text{ or uncorrelated noise coordinates,}"
        "\n"
        r"\text{else }1+\frac{\sqrt{2}\beta}{1+\beta}\operatorname{avg}(1-\beta^r)^2"
    )

    def covers(self, setting: Setting) -> str | None:
        """A random basis, drawn anew every period, its state reset."""
        if setting.runs is not None and setting.runs.law != "turning":
            return f'subspace "{setting.algorithm.subspace}" is not a basis that is drawn anew'
        return super().covers(setting)
