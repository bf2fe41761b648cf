"""Corollary of the run-length theorem: momentum sets held for T steps."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.averages import known_law
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import named_free

__all__ = ["HeldSets"]


class HeldSets(RunLength):
    """The plain norm under sets (coordinates, blocks, columns, a random basis) held for T steps::

        avg E‖gᵏ‖² ≤ (the run-length bound) / w,   w = min(s, 1 − β E[n])

    W is smallest on the last step of a period, 1 − β E[β^{Tn}] with n the following periods in which j stays: 1 − β for
    a basis or a block that leaves at once, 1 − β(1−p)/(1−pβ^T) if units are drawn with probability p. 1/w is at
    most 1/(1−β), a price for the plain norm only: the *average* leak over a period is about β/((1−β)T).

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("held_sets", density=0.5, update_gap=5, subspace="coordinates")
    (0.501, 1.73)
    """

    name = "held_sets"
    title = "Corollary: sets held for T steps, plain norm"
    short_name = "run-length, held for T steps"
    label = "held sets"
    statement = (
        "avg E‖gᵏ‖² ≤ [Δ/(Kα) + (Lα/2)(avg ΣW²σ² + √2β/(1+β) avg Σ_J W²σ²)] / (w(1 − Lα(1/2 + √2β/(1−β))))"
        "   for w = min W, 1 − β(1−p)/(1−pβ^T) for sets drawn with probability p"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha}{2}\Bigl(\operatorname{avg}\sum W^2\sigma^2+\frac{\sqrt{2}\beta}{1"
        r"+\beta}\operatorname{avg}\sum_JW^2\sigma^2\Bigr)}{w\Bigl(1-L\alpha\Bigl(\frac{1}{2}"
        r"+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)\Bigr)}"
        "\n"
        r"\text{for }w=\min W,\quad1-\frac{\beta(1-p)}{1-p\beta^T}\text{ for sets drawn with probability }p"
    )
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 on sets that change; off the set SGD that moves."""
        runs, free = setting.runs, setting.algorithm.state_free
        if runs is not None and runs.law == "fixed":
            return "the momentum set never changes"
        if free.rule != "sgd" or free.lr_scale == 0:
            return f"the state-free rule is {named_free(setting)}: nothing moves off the set by SGD"
        return super().covers(setting)

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        return super().bound(setting) / smallest_weight(setting)


def smallest_weight(setting: Setting) -> Array:
    """w for K = 1 … steps, shape (steps,): the smallest weight of any coordinate up to step K."""
    runs, gap = known_law(setting), setting.algorithm.update_gap
    found = np.empty(setting.steps)
    for k in range(setting.steps):
        if k >= gap and runs.law != "scheduled":
            found[k] = found[k - gap]
            continue
        leak, share = runs.leak(k), runs.probability(k // gap)
        inside = min(float(np.min(np.where(share[name] > 0, 1 - leak[name], 1.0))) for name in leak)
        anything_outside = any(np.any(share[name] < 1) for name in leak)
        found[k] = min(inside, runs.off_set_weight) if anything_outside else inside
    return np.minimum.accumulate(found)
