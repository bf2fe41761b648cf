"""How fast Algorithm 2 contracts without noise, momentum on k directions that need not be eigen-directions.

On f(x) = ½xᵀAx with A = diag(λ), an orthogonal projector Π and momentum m in its range, one step is::

    x ← x − α[(I − βΠ)Ax + βΠm]        m ← βΠm + (1−β)ΠAx

A mode x ← zx of it has (1 − z)x = αD(z)Ax with D(z) = I − Π + z(1−β)/(z−β) Π, positive for z < 0. If
α λ_max(D^½AD^½) > 2 at z = −1, it is 1 − z at some z < −1: x grows. So α <= 2/λ_max((I−Π)A(I−Π)) is needed, and that is at
most 2/λ_{k+1} (Cauchy's interlacing theorem), with equality for the k leading eigen-directions.

Matrices have leading axes (…, d, d).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import direct, minimize

__all__ = ["DIVERGED", "fastest", "fixed_rate", "largest_step", "path_rates", "projector", "transition"]

Array = NDArray[np.float64]
Radius = Callable[[float, float], float]

DIVERGED = 1e3
"""The rate that a run beyond float64's range is given."""

HUGE = 1e100


def projector(columns: Array) -> Array:
    """Π = QQᵀ of orthonormal columns Q (…, d, k)."""
    return columns @ np.swapaxes(columns, -1, -2)


def transition(eigenvalues: Array, onto: Array, alpha: float, beta: float) -> Array:
    """The map of (x, m) in one step, shape (…, 2d, 2d), for the projector ``onto`` (…, d, d)."""
    d = len(eigenvalues)
    matrix = np.empty((*onto.shape[:-2], 2 * d, 2 * d))
    matrix[..., :d, :d] = np.eye(d) - alpha * (np.eye(d) - beta * onto) * eigenvalues
    matrix[..., :d, d:] = -alpha * beta * onto
    matrix[..., d:, :d] = (1 - beta) * onto * eigenvalues
    matrix[..., d:, d:] = beta * onto
    return matrix


def largest_step(eigenvalues: Array, onto: Array) -> float:
    """2/λ_max((I−Π)A(I−Π)): no larger α can be stable on this set; inf for the whole space."""
    off = np.eye(len(eigenvalues)) - onto
    largest = float(np.linalg.eigvalsh((off * eigenvalues) @ off)[-1])
    return 2 / largest if largest > np.finfo(float).eps * float(eigenvalues.max()) else np.inf


def fixed_rate(eigenvalues: Array, columns: Array) -> Radius:
    """The spectral radius of one step as a function of (α, β), for the span of ``columns`` (d, k), kept for ever."""
    d, k = columns.shape
    # m = Qm̂ has k coordinates: d + k in place of 2d.
    turn = np.block([[np.eye(d), np.zeros((d, k))], [np.zeros((d, d)), columns]])
    onto = projector(columns)

    def radius(alpha: float, beta: float) -> float:
        matrix = turn.T @ transition(eigenvalues, onto, alpha, beta) @ turn
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    return radius


def path_rates(
    eigenvalues: Array, starts: Array, choose: Callable[[Array, int], Array], update_gap: int, periods: int
) -> Callable[[float, float], Array]:
    """The factors by which ‖x‖ shrinks a step over the second half of runs whose set is chosen anew, momentum reset.

    x is a matrix (d, n) and the Hessian acts on each of its columns. ``choose(gradients, period)`` gives the projectors of
    one period of ``update_gap`` steps, shape (runs, d, d). ``starts`` (runs, d, n); x is scaled to ‖x‖ = 1 at every period,
    so ``choose`` may look at directions only. The function of (α, β) returns one factor a run, shape (runs,).
    """
    d = len(eigenvalues)

    def rates(alpha: float, beta: float) -> Array:
        x, logs, before = starts, np.zeros(len(starts)), np.zeros(len(starts))
        for period in range(periods):
            if period == periods // 2:
                before = logs
            step = transition(eigenvalues, choose(eigenvalues[:, None] * x, period), alpha, beta)
            with np.errstate(over="ignore", invalid="ignore"):
                x = np.linalg.matrix_power(step, update_gap)[..., :d, :d] @ x
                norms = np.linalg.norm(x, axis=(-2, -1))
            if not np.all(norms < HUGE):
                return np.full(len(starts), DIVERGED)
            logs, x = logs + np.log(norms), x / norms[:, None, None]
        return np.asarray(np.exp((logs - before) / (update_gap * (periods - periods // 2))))

    return rates


def fastest(radius: Radius, eigenvalues: Array, evaluations: int = 150, *, polish: bool = True) -> tuple[float, float, float]:
    """(r, α, β) with the least r = ``radius(α, β)``: SciPy's DIRECT over log α and log(1−β), then Nelder and Mead's simplex
    from the best point found, or from gradient descent's if that is better.

    The box has 1/2 <= αλ_1 <= 4√κ and 1/2 <= (1−β)√κ, 1−β <= 1, around gradient descent (2/(λ_1+λ_d), 0) and heavy ball
    (about √κ/λ_1, 1 − 4/√κ). Each of the two searches has ``evaluations``; without ``polish`` the first is all.
    """
    largest, root = float(eigenvalues.max()), float(np.sqrt(eigenvalues.max() / eigenvalues.min()))
    low, high = np.log([0.5, 0.5 / root]), np.log([4 * root, 1.0])

    def parameters(z: Sequence[float] | Array) -> tuple[float, float]:
        z = np.clip(z, low, high)
        return float(np.exp(z[0])) / largest, -float(np.expm1(z[1]))

    def objective(z: Array) -> float:
        return float(np.log(max(radius(*parameters(z)), 1e-300)))

    z = direct(objective, list(zip(low, high, strict=True)), maxfun=evaluations).x
    descent = np.array([np.log(2 / (1 + root**-2)), 0.0])
    best = min(z, descent, key=objective)
    if not polish:
        return (float(np.exp(objective(best))), *parameters(best))
    simplex = best + 0.05 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0]])
    settings = {"xatol": 1e-7, "fatol": 1e-10, "maxfev": evaluations, "initial_simplex": simplex}
    found = minimize(objective, best, method="Nelder-Mead", options=settings)
    return (float(np.exp(found.fun)), *parameters(found.x))
