"""What is measured and what a theorem bounds it by, where both are seen at a glance: on a parabola, or a small regression."""

from __future__ import annotations

from typing import Any

from frugal_theory.config.load import parse
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts.verify import verify

__all__ = ["measured_and_bound"]

STEPS, TRIALS = 50, 64

REGRESSION = {"kind": "nonconvex", "dimension": 2, "samples": 20}


def measured_and_bound(
    theorem: str, eigenvalues: tuple[float, ...] = (1.0,), sigma: float = 0.1, batch: int | None = None, **algorithm: Any
) -> tuple[float, float]:
    """(measured, bound), to three digits, at the horizon up to k = 50 where they are closest.

    f(x) = ½ Σ λ_j x_j² from x¹ = (1, …), noise N(0, σ²) in every coordinate; ``algorithm``: keys of that table, by default of
    SGDM with SGD off the set at 0.9 of the admissible step. With ``batch`` f is a robust regression in two coordinates, whose
    gradients are bounded, and the noise that of mini-batches of this size. Raises ValueError if the theorem does not apply.

    >>> measured_and_bound("sgdm", density=1.0)
    (0.497, 0.869)
    """
    rules = {"state_full": "sgdm", "state_free": "sgd", "learning_rate": {"fraction_of_admissible": 0.9}}
    noise: dict[str, Any] = {"kind": "gaussian", "sigma": sigma} if sigma else {"kind": "none"}
    if batch is not None:
        noise = {"kind": "minibatch", "batch_size": batch}
    tables = {
        "algorithm": rules | algorithm,
        "problem": {"kind": "quadratic", "eigenvalues": list(eigenvalues), "start": "ones"} if batch is None else REGRESSION,
        "noise": noise,
        "simulation": {"steps": STEPS, "trials": TRIALS},
    }
    (found,) = verify(parse({"name": theorem, **tables}), theorems=[THEOREMS[theorem]])
    if found.measured is None or found.bound is None:
        raise ValueError(f"{theorem} does not apply: {found.reason}")
    return float(f"{found.measured:.3g}"), float(f"{found.bound:.3g}")
