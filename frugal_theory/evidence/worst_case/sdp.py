"""The semidefinite program of the worst case, and the child process that solves one of them with one solver.

``python -m frugal_theory.evidence.worst_case.sdp`` reads a program as JSON from its input and writes the answer as
JSON to its output. Nothing in the parent survives from one program to the next, and a solver that crashes takes
nothing with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.exact.linear import Updates, updates

__all__ = ["SOLVERS", "displacements", "interpolation", "solve"]

Array = NDArray[np.float64]

TOLERANCES = (1e-7, 1e-5)
"""What a solver is asked for, and what it is asked for if it cannot: still a hundredth of the agreement required."""

SOLVERS: dict[str, Callable[[float], dict[str, Any]]] = {
    # The shorter step keeps Clarabel from stalling where the optimal Gram matrix is of low rank.
    "CLARABEL": lambda t: {"tol_gap_abs": t, "tol_gap_rel": t, "tol_feas": t, "max_step_fraction": 0.95},
    "SCS": lambda t: {"eps_abs": t, "eps_rel": t, "max_iters": 10_000 if t < TOLERANCES[-1] else 100_000},
}
"""An interior-point and a first-order method."""


def displacements(member: NDArray[np.bool_], linear: Updates) -> Array:
    """Row k is xᵏ − x¹ of one block as a combination of its gradients g¹, g², …; shape (steps, steps).

    ``member``, shape (steps,): whether the block is in the momentum set of each step.
    """
    steps = len(member)
    x, m = np.zeros((steps, steps)), np.zeros(steps)
    for k in range(steps - 1):
        branch = linear.inside if member[k] else linear.outside
        gradient = np.eye(steps)[k]
        # The step reads the momentum after its update in the set, and branch has that expanded in the old one.
        x[k + 1] = x[k] + branch.a * m + branch.c * gradient
        m = branch.e * m + branch.f * gradient
    return x


def interpolation(x: Array) -> Array:
    """Of every ordered pair i ≠ j the matrix Q with f_i − f_j >= ⟨Q, G⟩, G the Gram matrix of the gradients.

    There is a 1-smooth f with values f_i and gradients g_i at x_i if and only if for all i, j (Taylor, Hendrickx and
    Glineur 2017, theorem 3.10, with μ = −L)::

        f_i − f_j >= ½⟨g_i + g_j, x_i − x_j⟩ + ¼‖g_i − g_j‖² − ¼‖x_i − x_j‖²

    ``x``, shape (steps, steps): the points in terms of the gradients. Returns shape (steps(steps−1), steps²).
    """
    eye = np.eye(len(x))
    rows = []
    for i, j in _pairs(len(x)):
        total, change, move = eye[i] + eye[j], eye[i] - eye[j], x[i] - x[j]
        product = np.outer(total, move)
        rows.append((product + product.T + np.outer(change, change) - np.outer(move, move)).ravel() / 4)
    return np.array(rows).reshape(-1, x.size)


def solve(members: NDArray[np.bool_], linear: Updates, solver: str, weights: Array | None = None) -> tuple[float, str]:
    """The worst (1/N) Σ_{k≤N} ‖gᵏ‖² over all f with L = 1 and f(x¹) − f* <= 1, and the solver's status.

    ``members``, shape (blocks, N): which blocks of coordinates are in the momentum set of each step. Blocks are
    orthogonal, so each has a Gram matrix G_b of its own and ⟨u, v⟩ = Σ_b ⟨u_b, v_b⟩: B matrices of order N take the
    place of one of order BN with its orthogonality constraints. f* enters as f_i − f* >= ‖g_i‖²/2. The program is
    exact if every block has at least N dimensions, and an upper bound if it has fewer. ``weights``, of the shape of
    ``members``: w_bᵏ of Σ_b w_bᵏ‖g_bᵏ‖² in place of ‖gᵏ‖².
    """
    import cvxpy as cp

    steps = members.shape[1]
    grams = [cp.Variable((steps, steps), PSD=True) for _ in members]
    values = cp.Variable(steps)
    squares = sum(cp.diag(gram) for gram in grams)
    constraints = [values >= squares / 2, values[0] <= 1]
    if steps > 1:
        first, second = np.array(_pairs(steps)).T
        sides = [
            interpolation(displacements(member, linear)) @ cp.vec(g, order="C")
            for member, g in zip(members, grams, strict=True)
        ]
        constraints.append(values[first] - values[second] >= sum(sides))
    weight = np.ones(members.shape) if weights is None else weights
    metric = sum(cp.sum(cp.multiply(w, cp.diag(gram))) for w, gram in zip(weight, grams, strict=True))
    program = cp.Problem(cp.Maximize(metric / steps), constraints)
    for tolerance in TOLERANCES:
        program.solve(solver=solver, **SOLVERS[solver](tolerance))
        if program.status == cp.OPTIMAL:
            break
    return (float("nan") if program.value is None else float(program.value)), str(program.status)


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(count) if i != j]


def main() -> None:
    """Read {"members", "weights", "updates", "solver"}, write {"value", "status"}; a solver's own error is a status too."""
    task = json.load(sys.stdin)
    try:
        members, weights = np.array(task["members"], dtype=bool), np.array(task["weights"], dtype=float)
        value, status = solve(members, updates(**task["updates"]), task["solver"], weights)
    except Exception as error:  # whatever a solver raises, its answer is that it has none
        value, status = float("nan"), f"failed: {' '.join(str(error).split())[:80]}"
    json.dump({"value": value, "status": status}, sys.stdout)


if __name__ == "__main__":
    main()
