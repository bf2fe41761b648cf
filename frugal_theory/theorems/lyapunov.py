"""The Lyapunov function of SGDM on everything, in numbers: its coefficients, and what a step takes from it and adds to it."""

from __future__ import annotations

from dataclasses import dataclass

from frugal_theory.theorems.setting import Setting

__all__ = ["Lyapunov", "largest_step"]


@dataclass(frozen=True)
class Lyapunov:
    """V_k = f(xᵏ) − f* + p‖mᵏ⁻¹‖² − a⟨mᵏ⁻¹, gᵏ⟩ for L = 1, E V_{k+1} ≤ E V_k − cE‖gᵏ‖² + nσ² (``docs/theory/momentum.md``).

    ``reach``: Lα, at most 1 + β, or below 2 where β = 0. ``beta``: β.
    """

    reach: float
    beta: float

    @classmethod
    def of(cls, setting: Setting) -> Lyapunov:
        """That of a setting; for SGD the step is α times the state-free ``lr_scale``."""
        return cls(setting.smoothness * setting.alpha * setting.sgd_scale, setting.beta)

    @property
    def factor(self) -> float:
        """D = 1 + 2βLα/(1−β²), by which the transient is larger than that of SGD."""
        return 1 + 2 * self.beta * self.reach / (1 - self.beta**2)

    @property
    def room(self) -> float:
        """φ = 1 − Lα(1−β)/(2(1+β))."""
        return 1 - self.reach * (1 - self.beta) / (2 * (1 + self.beta))

    @property
    def square(self) -> float:
        """p."""
        return (self.reach * self.beta / (1 - self.beta)) ** 2 / (2 * self.factor)

    @property
    def cross(self) -> float:
        """a, at least 0 and a² ≤ 2p."""
        return self.reach * self.beta * (1 + self.beta - self.reach) / (2 * self.reach * self.beta + 1 - self.beta**2)

    @property
    def descent(self) -> float:
        """c = αφ/D."""
        return self.reach * self.room / self.factor

    @property
    def kick(self) -> float:
        """n = α²/(2D)."""
        return self.reach**2 / (2 * self.factor)


def largest_step(setting: Setting) -> tuple[float, bool]:
    """Where the multipliers of the proof are nonnegative: α ≤ (1+β)/L. β = 0 needs none, but a decrease: α < 2/L.

    For SGD, α is the step with its ``lr_scale``.
    """
    scale = setting.sgd_scale
    if scale == 0:
        return float("inf"), False
    limit = setting.smoothness * scale
    return ((1 + setting.beta) / limit, True) if setting.beta > 0 else (2 / limit, False)
