"""How large certified constants are with noise. The second table of docs/theory/certificates.md.

``python -m benchmarks certified_noise``, a minute. Noise constants are held against stationary E‖g‖² of the worst quadratic,
with sets of coordinates drawn with probability p every T steps, and both constants against the least of the other theorems.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.certificates import TRADES, Group, Plan, certificate
from frugal_theory.studies.study import Answer, Run
from frugal_theory.theorems.theorem import published_step

Array = NDArray[np.float64]

BETAS = (0.5, 0.9, 0.99)
STEPS = {"published": 1.0, "4 published": 4.0}
SETS = ((1.0, 1), (0.5, 1), (0.25, 1), (0.5, 5), (0.5, 20))
CURVATURES = np.linspace(0.005, 1, 400)
LONG = 100_000
"""Steps after which the transient of a bound no longer counts."""


class Noise:
    """A row a β, step and law: C and n of the certificates with the least n, times and over α, and what they compare with."""

    name = "certified_noise"
    question = "How far above the noise of the worst quadratic are certified constants?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """L = 1."""
        return pd.concat(run.each(constants, [(beta, *sets) for beta in BETAS for sets in SETS]), ignore_index=True)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """Nothing."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """By update gap."""
        largest = table.groupby("T")["ratio"].max()
        said = ", ".join(f"T = {gap}: {ratio:.3g}" for gap, ratio in largest.items())
        return Answer(f"Largest noise constant / that of the worst quadratic: {said}.", "yes")


def constants(beta: float, share: float, gap: int) -> pd.DataFrame:
    """All steps of one law."""
    rows = []
    for label, factor in STEPS.items():
        alpha = factor * published_step(1.0, beta)
        numbers = (Fraction(alpha), Fraction(1), Fraction(beta), Fraction(1))
        plan = Plan(*numbers, gap, (Group(Fraction(share)),), auxiliary=gap > 1)
        found = [certificate(plan, trade) for trade in TRADES]
        transient = min(float(Fraction(one["transient"])) for one in found)
        noise = min(float(np.mean([float(Fraction(row[0])) for row in one["noise"]])) for one in found)
        before = _others(alpha, beta, share, gap)
        attained = max(stationary(curvature, alpha, beta, share, gap) for curvature in CURVATURES)
        rows.append(
            {"beta": beta, "step": label, "p": share, "T": gap, "αC": alpha * transient, "αC before": alpha * before[0]}
            | {"n/α": noise / alpha, "n/α before": before[1] / alpha, "attained": attained / alpha, "ratio": noise / attained}
        )
    return pd.DataFrame(rows)


def _others(alpha: float, beta: float, share: float, gap: int) -> tuple[float, float]:
    """The least transient and noise constants of the theorems that are not certified, on the plain norm."""
    algorithm = {"density": share, "update_gap": gap, "subspace": "coordinates", "learning_rate": alpha}
    algorithm |= {"state_full": {"rule": "sgdm", "beta": beta}, "state_free": "sgd"}
    tables = {"algorithm": algorithm, "problem": {"kind": "quadratic", "eigenvalues": [1.0, 1.0]}}
    setting = ft.setting_of(ft.parse({"name": "others", **tables})).having(steps=LONG, learning_rate=alpha)
    silent = {name: np.zeros_like(value) for name, value in setting.variance.items()}
    loud = {name: np.full_like(value, 0.5) for name, value in setting.variance.items()}
    found = [(np.inf, np.inf)]
    for theorem in ft.THEOREMS.values():
        plain = theorem.explicit and theorem.metric == "squared_gradient_norm"
        if not plain or theorem.name in ("certified", "eigen_aligned") or theorem.covers(setting):
            continue
        largest, admitted = theorem.largest_step(setting)
        if alpha < largest or (admitted and alpha == largest):
            transient = theorem.bound(setting.having(variance=silent, gap=1.0))[-1] * LONG
            found.append((float(transient), float(theorem.bound(setting.having(variance=loud, gap=0.0))[-1])))
    return min(one[0] for one in found), min(one[1] for one in found)


def stationary(curvature: float, alpha: float, beta: float, share: float, gap: int) -> float:
    """The stationary average over a period of E(g)² on f = λx²/2 with noise of variance 1; 0 if there is none.

    Moments E(x², xm, m²) on the event of being in the set, and off it, are mapped linearly from one draw to the next.
    """
    new = (1 - beta) * curvature
    keep, lag = 1 - alpha * new, alpha * beta
    inside = np.array(
        [
            [keep**2, -2 * keep * lag, lag**2],
            [keep * new, keep * beta - lag * new, -lag * beta],
            [new**2, 2 * new * beta, beta**2],
        ]
    )
    noise = (1 - beta) ** 2 * np.array([alpha**2, -alpha, 1.0])
    outside = np.diag([(1 - alpha * curvature) ** 2, 0.0, 0.0])

    def period(moments: Array) -> tuple[Array, float]:
        """The moments before the next draw (in the set, off it), and the average of E(g)²."""
        total = moments[:3] + moments[3:]
        within, without = share * total, (1 - share) * total * [1.0, 0.0, 0.0]
        average = 0.0
        for _ in range(gap):
            average += curvature**2 * (within[0] + without[0]) / gap
            within = inside @ within + share * noise
            without = outside @ without + (1 - share) * np.array([alpha**2, 0.0, 0.0])
        return np.concatenate([within, without]), average

    constant = period(np.zeros(6))[0]
    matrix = np.array([period(unit)[0] - constant for unit in np.eye(6)]).T
    if np.abs(np.linalg.eigvals(matrix)).max() >= 1:
        return 0.0
    return period(np.linalg.solve(np.eye(6) - matrix, constant))[1]


STUDY = Noise()
