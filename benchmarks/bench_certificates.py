"""How tight certified bounds are without noise. The table of docs/theory/certificates.md.

``python -m benchmarks certificates``, some minutes on one core. The bound over the worst case of all L-smooth functions, by
semidefinite programs in all points of the run; for sets drawn anew at every step the program has a point for every history of
the draws (all of the coordinates in the set or none), which makes 2^N − 1 of them, and beyond N = 5 the worst quadratic
stands in for it. Every step size is certified, too: a cell that is not says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frugal_theory.certificates import Group, NotCertified, Plan, certificate
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.evidence.worst_case.sdp import solve
from frugal_theory.studies.study import Answer, Run
from frugal_theory.theorems.theorem import published_step

Array = NDArray[np.float64]

BETAS = (0.3, 0.5, 0.9, 0.99)
STEPS: dict[str, Callable[[float, float], float]] = {
    "¼ published": lambda beta, _: published_step(1.0, beta) / 4,
    "published": lambda beta, _: published_step(1.0, beta),
    "4 published": lambda beta, _: 4 * published_step(1.0, beta),
    "0.9 (1 + β)": lambda beta, _: 0.9 * (1 + beta),
    "0.9 largest": lambda _, largest: 0.9 * largest,
}
HORIZONS = (5, 10, 20)
GOALS = {"full": 1.2, "fixed": 1.5, "redrawn": 1.5}
"""Largest bound over worst case that is asked for."""

GROUPS = {
    "full": (Group(Fraction(1)),),
    "fixed": (Group(Fraction(1), weight=0.5), Group(Fraction(0), weight=0.5)),
    "redrawn": (Group(Fraction(1, 2)),),
}
SILENT = 1e-3
"""The weight of noise, of which there is none."""

TREE = 5
"""The longest runs whose histories are all in a program."""


def plan(sets: str, alpha: float, beta: float) -> Plan:
    """L = 1; half of the coordinates, or each with probability ½."""
    numbers = (Fraction(alpha), Fraction(1), Fraction(beta), Fraction(1))
    return Plan(*numbers, 1, GROUPS[sets], auxiliary=sets == "fixed")


def largest(sets: str, beta: float) -> float:
    """The largest step that is certified for all K, to three digits."""
    low, high = published_step(1.0, beta), 2 * (1 + beta) / (1 - beta)  # where quadratics diverge
    while high - low > 1e-3 * low:
        middle = (low + high) / 2
        try:
            certificate(plan(sets, middle, beta))
            low = middle
        except NotCertified:
            high = middle
    return low


class Tightness:
    """A row a set, β, step and horizon: bound over worst case, of the certificate for all K and of that for K = N."""

    name = "certificates"
    question = "How far above the worst case are certified bounds?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """Without noise, L = Δ = 1."""
        return pd.concat(run.each(ratios, [(sets, beta) for sets in GROUPS for beta in BETAS]), ignore_index=True)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """Nothing: the numbers are all near 1."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Every cell that misses its goal is in the table."""
        said, missed = [], 0
        for sets, goal in GOALS.items():
            found = table[table["sets"] == sets]
            missed += int((~(found["best"] <= goal)).sum())
            said.append(f"{sets} {found['best'].max():.3f} (goal {goal:g})")
        return Answer(f"Largest bound / worst case: {', '.join(said)}; {missed} cells miss.", "no" if missed else "yes")


def ratios(sets: str, beta: float) -> pd.DataFrame:
    """All steps and horizons of one β. ``best``: the least of what is proved, 2LΔ included where it is."""
    admitted = largest(sets, beta)
    rows = []
    for label, choose in STEPS.items():
        alpha = choose(beta, admitted)
        begun = perf_counter()
        always, level = (_constant(replace(plan(sets, alpha, beta), kind=kind)) for kind in ("average", "level"))
        seconds = perf_counter() - begun
        for horizon in HORIZONS:
            begun = perf_counter()
            short = _constant(replace(plan(sets, alpha, beta), horizon=horizon)) / horizon
            taken = perf_counter() - begun
            worst, by = worst_case(sets, alpha, beta, horizon)
            found = {"sets": sets, "beta": beta, "step": label, "alpha": alpha, "N": horizon, "worst": worst, "by": by}
            every = np.fmin(always / horizon, level)
            measured = {"every K": every / worst, "K = N": short / worst, "best": np.fmin(every, short) / worst}
            rows.append(found | measured | {"seconds": seconds + taken})
    return pd.DataFrame(rows)


def _constant(wanted: Plan) -> float:
    """C; nan where nothing is certified."""
    try:
        return float(Fraction(certificate(wanted, SILENT)["transient"]))
    except NotCertified:
        return float("nan")


def worst_case(sets: str, alpha: float, beta: float, horizon: int) -> tuple[float, str]:
    """The worst average for L = Δ = 1, and what it was found by; for drawn sets and long runs that of quadratics."""
    if sets == "redrawn":
        if horizon <= TREE:
            return tree(alpha, beta, 0.5, horizon), "tree"
        return worst_quadratic(alpha, beta, 0.5, horizon), "quadratic"
    members = np.ones((1, horizon), dtype=bool) if sets == "full" else np.array([[True] * horizon, [False] * horizon])
    rule = updates(learning_rate=alpha, beta=beta, lr_scale=1.0, off_set_momentum="reset")
    return solve(members, rule, "CLARABEL")[0], "program"


def worst_quadratic(alpha: float, beta: float, share: float, horizon: int) -> float:
    """The largest average of E(g)² over f = λx²/2, 0 < λ ≤ 1, Δ = 1: E of (x², xm, m²) is a linear recursion."""
    curvature = np.concatenate([np.geomspace(1e-6, 1, 4001), np.linspace(0.01, 1, 2000)])
    square, cross, momentum = 2 / curvature, 0 * curvature, 0 * curvature
    total = 0 * curvature
    for _ in range(horizon):
        total += curvature**2 * square
        new = (1 - beta) * curvature  # m' = βm + new·x, x' = keep·x − αβm
        keep = 1 - alpha * new
        inside = (
            keep**2 * square - 2 * keep * alpha * beta * cross + (alpha * beta) ** 2 * momentum,
            keep * new * square + (keep * beta - alpha * beta * new) * cross - alpha * beta**2 * momentum,
            new**2 * square + 2 * new * beta * cross + beta**2 * momentum,
        )
        square = share * inside[0] + (1 - share) * (1 - alpha * curvature) ** 2 * square
        cross, momentum = share * inside[1], share * inside[2]
    return float(total.max() / horizon)


def tree(alpha: float, beta: float, share: float, horizon: int) -> float:
    """The largest E average of ‖g‖² over all 1-smooth f, all coordinates being in the set together with this probability.

    A program with a point for every history of the draws: f is one function for all of them.
    """
    import cvxpy as cp

    size = 2**horizon - 1
    x, m, weight = np.zeros((size, size)), np.zeros((size, size)), np.ones(size)
    for child in range(1, size):  # children of node i are 2i + 1, in the set, and 2i + 2, off it
        parent, inside = (child - 1) // 2, child % 2 == 1
        gradient = np.eye(size)[parent]
        m[child] = beta * m[parent] + (1 - beta) * gradient if inside else 0
        x[child] = x[parent] - alpha * (m[child] if inside else gradient)
        weight[child] = weight[parent] * (share if inside else 1 - share)
    gram, values = cp.Variable((size, size), PSD=True), cp.Variable(size)
    first, second = np.array([(i, j) for i in range(size) for j in range(size) if i != j]).T
    eye = np.eye(size)
    total, change, move = eye[first] + eye[second], eye[first] - eye[second], x[first] - x[second]
    sides = np.einsum("ki,kj->kij", total, move)
    sides = sides + sides.transpose(0, 2, 1) + np.einsum("ki,kj->kij", change, change) - np.einsum("ki,kj->kij", move, move)
    forms = sides.reshape(len(sides), -1) / 4 @ cp.vec(gram, order="C")
    limits = [values >= cp.diag(gram) / 2, values[0] <= 1, values[first] - values[second] >= forms]
    program = cp.Problem(cp.Maximize(weight @ cp.diag(gram) / horizon), limits)
    program.solve(solver="CLARABEL", tol_gap_abs=1e-7, tol_gap_rel=1e-7, tol_feas=1e-7)
    return float(program.value)


STUDY = Tightness()
