"""The rungs that are proved: for SGDM its sharp theorem, the run-length theorem, its sharp form, and a published bound."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from frugal_theory.studies.ladder.measured import PLAIN, is_silent, norm, rung_horizons
from frugal_theory.studies.ladder.rung import Rung
from frugal_theory.theorems import THEOREMS, Setting, Theorem
from frugal_theory.theorems.theorem import bound_of
from frugal_theory.verdicts.claims import Claims

__all__ = ["bounds", "with_constant"]


def bounds(claims: Claims) -> list[Rung]:
    """The run-length theorem, its sharp form below it, below that SGDM's own where it applies; and a published bound.

    First what is certified, if the file names it.
    """
    metric = norm(claims.setting)
    own = ("sgdm_sharp",) if THEOREMS["sgdm_sharp"].covers(claims.setting) is None else ()
    rungs = [_bound(claims, THEOREMS[name], metric) for name in (*own, "run_length_sharp", "run_length")]
    if "certified" in claims.instance.experiment.verify.theorems:
        rungs.insert(0, replace(_bound(claims, THEOREMS["certified"], PLAIN), aside=True))
    for name in ("sgd", "sgdm"):
        if claims.excuse(THEOREMS[name]) is None:
            return [*rungs, _bound(claims, THEOREMS[name], PLAIN)]
    return [*rungs, _bound(claims, THEOREMS["theorem_5_2"], PLAIN)]


def _bound(claims: Claims, theorem: Theorem, metric: str) -> Rung:
    if excuse := claims.excuse(theorem):
        return Rung.absent(theorem.name, theorem.title, metric, excuse)
    steps = rung_horizons(claims.setting.steps)
    value = bound_of(theorem, claims.setting)[steps - 1]
    facts = (theorem.name, theorem.title, metric, theorem.source, theorem.statement)
    return Rung(*facts, steps, value, value, value, noise_free=is_silent(claims), hidden=not theorem.explicit)


def with_constant(claims: Claims, rungs: list[Rung]) -> list[Rung]:
    """Theorem 5.2 hides its constant: take the smallest with which the run-length theorem proves it for this cell.

    The run-length theorem bounds the plain norm through one of its corollaries. Any C from the largest measured/shape up
    is possible, and from this one up it is proved; the comparison with what is below is then true by construction.
    """
    shape = rungs[-1]
    if not shape.hidden:
        return rungs
    corollary = THEOREMS[_plain_form(claims.setting)]
    proved = math.nan
    if claims.excuse(corollary) is None:
        proved = float(np.max(bound_of(corollary, claims.setting)[shape.steps - 1] / shape.value))
    constant = 1.0 if math.isnan(proved) else proved
    how = f"the shape with C = {constant:.3g}, "
    how += "for want of a better one" if math.isnan(proved) else f"the smallest C with which {corollary.name} proves it here"
    like = [rung for rung in rungs if not rung.missing and _alike(rung, shape)]
    if needed := max((_least_constant(rung, shape) for rung in like), default=0.0):
        how += f"; the rungs measured need C ≥ {needed:.3g}"
    scaled = constant * shape.value
    return [*rungs[:-1], replace(shape, how=how, value=scaled, lower=scaled, upper=scaled, constant=constant)]


def _plain_form(setting: Setting) -> str:
    """The corollary of the run-length theorem that bounds the plain norm."""
    if setting.runs is None or setting.runs.law == "fixed":
        return "fixed_set"
    return "independent_sampling" if setting.runs.law == "redrawn" and setting.algorithm.update_gap == 1 else "held_sets"


def _alike(rung: Rung, shape: Rung) -> bool:
    """Whether the rung is measured, or a worst case, of what the shape bounds. A weighted norm is at most the plain one."""
    measured = rung.expectation or rung.name == "worst_case"
    return measured and rung.noise_free == shape.noise_free and rung.one_draw == shape.one_draw


def _least_constant(rung: Rung, shape: Rung) -> float:
    """The least constant that this rung leaves possible, by the lower ends of its intervals."""
    _, mine, its = np.intersect1d(rung.steps, shape.steps, return_indices=True)
    ratios = rung.lower[mine] / shape.value[its]
    return float(np.max(ratios[np.isfinite(ratios)], initial=0.0))
