"""Between SGD and SGDM: fixed momentum on eigen-directions of a quadratic, without noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frugal_theory.problems.quadratic import Quadratic
from frugal_theory.theorems.averages import known_law
from frugal_theory.theorems.setting import Array, ProblemSetting, Setting
from frugal_theory.theorems.theorem import Shown, off_the_family

__all__ = ["EigenAligned"]


class EigenAligned(Shown):
    """f(x) = f* + ½(x−x*)ᵀA(x−x*), no noise, J a fixed set of A's eigen-directions, SGD with lr_scale s off it. For all α::

        avg ‖gᵏ‖² ≤ (2Δ/K) max_i λ_i Σ_{k≤K} c_i(k)²

    with c_i(k) = (1 − sαλ_i)^{k−1} off the set and the upper left entry of M_i^{k−1} on it, M_i = [[1−α(1−β)λ_i, −αβ],
    [(1−β)λ_i, β]]. Attained, for each K, by a start along one eigen-direction. The terms decay like r^{2k}, r the largest
    spectral radius (``frugal_theory.theorems.interpolation``), for sαλ_i < 2 off the set and αλ_i < 2(1+β)/(1−β) on it.
    Proved in ``docs/theory/interpolation.md``, section "Interpolating between the rates of SGD and SGDM".

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("eigen_aligned", (1.0, 0.5), sigma=0.0, density=0.5, subspace="eigen")
    (0.313, 0.361)
    """

    name = "eigen_aligned"
    title = "Momentum on eigen-directions of a quadratic"
    short_name = "momentum on eigen-directions"
    label = "eigen-directions"
    source = "proved here (docs/theory/interpolation.md)"
    statement = (
        "avg ‖gᵏ‖² ≤ (2Δ/K) max_i λ_i Σ_{k≤K} c_i(k)², c_i(k) = [M_i^{k−1}]₁₁ on the set, (1 − αλ_i)^{k−1} off it"
        "   for αλ_i < 2(1+β)/(1−β) on it, αλ_i < 2 off it"
    )
    formula = (
        r"\operatorname{avg}\|g^k\|^2\le\frac{2\Delta}{K}\max_i\lambda_i\sum_{k\le K}c_i(k)^2,"
        "\n"
        r"c_i(k)=[M_i^{k-1}]_{11}\text{ on the set, }(1-\alpha\lambda_i)^{k-1}\text{ off it}"
        "\n"
        r"\text{for }\alpha\lambda_i<\frac{2(1+\beta)}{1-\beta}\text{ on it, }\alpha\lambda_i<2\text{ off it}"
    )
    premises = "a quadratic, without noise; a fixed set of eigen-directions"
    explicit = True
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 with a fixed set of eigen-directions on a quadratic, without noise."""
        runs = setting.runs
        if reason := off_the_family(setting):
            return reason
        if not isinstance(setting, ProblemSetting):
            return "it needs the eigenvalues of a quadratic, and constants are all that is known of the problem"
        problem = setting.problem
        if type(problem) is not Quadratic:  # what derives from it may have another gradient
            return "the problem is not a quadratic"
        if any(np.any(variance) for variance in setting.variance.values()):
            return "there is noise"
        if runs is None or runs.law != "fixed":
            return "the momentum set changes"
        aligned = setting.algorithm.subspace == "eigen" and setting.algorithm.set is None
        if not (runs.full or runs.empty or problem.separable or aligned):
            return "the momentum set is not made of eigen-directions"
        return None

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """Where the slowest direction stops shrinking: min of 2(1+β)/((1−β)λ_i) on the set and 2/(sλ_i) off it."""
        values, inside = _directions(setting)
        beta, scale = setting.beta, known_law(setting).off_set_weight
        on, off = np.max(values[inside], initial=0.0) * (1 - beta) / (1 + beta), np.max(values[~inside], initial=0.0) * scale
        steepest = float(max(on, off))
        return (2 / steepest if steepest > 0 else np.inf), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        values, inside = _directions(setting)
        alpha, beta, scale = setting.alpha, setting.beta, known_law(setting).off_set_weight
        x, m = np.ones_like(values), np.zeros_like(values)
        total, most = np.zeros_like(values), np.empty(setting.steps)
        for k in range(setting.steps):
            total += values * x**2
            most[k] = total.max()
            m = beta * m + (1 - beta) * values * x
            x = x - alpha * np.where(inside, m, scale * values * x)
        return 2 * setting.gap * most / setting.horizons


def _directions(setting: Setting) -> tuple[Array, NDArray[np.bool_]]:
    """The distinct eigenvalues on the set and off it, and which are on it."""
    assert isinstance(setting, ProblemSetting)  # covers() has said so …
    problem, runs = setting.problem, known_law(setting)
    assert isinstance(problem, Quadratic)  # … and this
    values, shapes = problem.eigenvalues, problem.shapes
    share = np.concatenate([np.broadcast_to(runs.share[name], shape) for name, shape in shapes.items()])
    if setting.algorithm.subspace == "eigen" and setting.algorithm.set is None:
        inside = np.zeros(values.size, dtype=bool)
        inside[np.argsort(-values, kind="stable")[: round(float(share.sum()))]] = True  # its projector's trace
    else:
        inside = share > 0.5
    pairs = np.unique(np.stack([values, inside], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1].astype(bool)
