"""Premises P1–P6 (``docs/theory.md``, section 2; ``docs/premises.md``): which an experiment meets, and how that is known.

Nothing that a problem, a noise or a subspace declares is taken on trust where evaluating it can refute it. A premise is
held unless it is refused; ``level`` and ``power`` say what that is worth.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import MutableMapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import contradiction
from frugal_theory.premises.draws import Draws, draw, tested
from frugal_theory.premises.flat import rows
from frugal_theory.premises.moments import Finding, contradicted_variance, dependence, excess_variance, nonzero_mean
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.selection import first_difference, selection_bias
from frugal_theory.premises.smoothness import RATIO_SLACK, search
from frugal_theory.premises.tails import heavy_tail
from frugal_theory.problems.noise import Gaussian, Minibatch, NoNoise, StudentT
from frugal_theory.theorems.theorem import Setting

__all__ = ["LEVEL", "check_premises", "judge"]

Array = NDArray[np.float64]
Known = MutableMapping[bytes, tuple[Premise, ...]]

LEVEL = 1e-3
"""Probability that any premise of an experiment that meets all of them is refused: P3, P4 and P5 have a third each."""


def check_premises(setting: Setting, seed: int = 0, *, level: float = LEVEL, known: Known | None = None) -> tuple[Premise, ...]:
    """P1 to P6 for one setting, in order.

    ``level``: the probability that one or more of six true premises are refused. ``known``: results of P1 to P5, which do
    not depend on the algorithm; give the same dict for all cells of a sweep, and equal problems are tested once.
    """
    key = _key(setting, seed, level) if known is not None else None
    found = known.get(key) if known is not None and key is not None else None
    if found is None:
        found = (*_problem(setting, seed), *_noise(setting, seed, level))
        if known is not None and key is not None:
            known[key] = found
    return (*found, _oblivious(setting, seed))


def _key(setting: Setting, seed: int, level: float) -> bytes | None:
    """What P1 to P5 depend on, as bytes; None for objects that cannot be pickled."""
    variance = {name: np.asarray(value) for name, value in setting.variance.items()}
    try:
        content = pickle.dumps((setting.problem, setting.noise, variance, setting.smoothness, setting.gap, seed, level))
    except Exception:
        return None
    return hashlib.sha256(content).digest()


# --- P1, P2 --------------------------------------------------------------------------------------------------------------


def _problem(setting: Setting, seed: int) -> tuple[Premise, Premise]:
    declared, infimum, gap = setting.smoothness, setting.problem.infimum, setting.gap
    smooth, bounded = "f is L-smooth", "f is bounded below"
    below = Premise("P2", bounded, False, f"f* = {infimum:g} is no lower bound: f(x¹) − f* = {gap:.4g}")
    known = math.isfinite(infimum) and gap >= 0
    if not (math.isfinite(declared) and declared > 0):
        above = Premise("P1", smooth, False, f"the declared L = {declared:g} is not a positive number")
        return above, Premise("P2", bounded, True, f"f* = {infimum:.4g}, Δ = {gap:.4g}") if known else below
    found = search(setting.problem, declared, seed)
    lanczos = f", Lanczos {found.lanczos:.4g}" if math.isfinite(found.lanczos) else ""
    if not found.ratio <= declared * (1 + RATIO_SLACK):
        how = f"two points have gradient ratio {found.ratio:.4g}, above the declared L = {declared:.4g}"
        if not math.isfinite(found.ratio):
            how = "the gradient is not finite at a point of the search"
        above = Premise("P1", smooth, False, how + lanczos, 0.0)
    else:
        how = f"L = {declared:.4g} as derived; largest ratio found {found.ratio:.4g}{lanczos}"
        above = Premise("P1", smooth, True, how, 0.0, "a search: what it does not find may exist")
    if not known:
        return above, below
    if found.lowest < infimum - found.rounding:
        how = f"f* = {infimum:.4g} is no lower bound: a point has value {found.lowest:.4g}"
        return above, Premise("P2", bounded, False, how, 0.0)
    return above, Premise("P2", bounded, True, f"f* = {infimum:.4g}, Δ = {gap:.4g}; lowest value found {found.lowest:.4g}", 0.0)


# --- P3, P4, P5 ----------------------------------------------------------------------------------------------------------

UNBIASED, VARIANCE, INDEPENDENT = (
    "the stochastic gradient is unbiased",
    "the variance of every coordinate is bounded",
    "samples are independent across steps",
)


def _noise(setting: Setting, seed: int, level: float) -> tuple[Premise, Premise, Premise]:
    """P3, P4 and P5, from the same draws."""
    if getattr(setting.noise, "degrees_of_freedom", math.inf) <= 1:
        name = _named(setting)
        return (
            Premise("P3", UNBIASED, False, f"{name} has no mean with at most 1 degree of freedom"),
            Premise("P4", VARIANCE, False, f"{name} has infinite variance"),
            Premise("P5", INDEPENDENT, True, f"{name} is drawn afresh at every step"),
        )
    return judge(setting, draw(setting.problem, setting.noise, seed), level)


def judge(setting: Setting, drawn: list[Draws], level: float) -> tuple[Premise, Premise, Premise]:
    """P3, P4 and P5, from draws at some points. P3 and P4 are tested with independent draws, so they wait for P5."""
    name, total = _named(setting), setting.total_variance
    proven = isinstance(setting.noise, (NoNoise, Gaussian, StudentT, Minibatch))
    declared = rows(setting.problem, setting.variance)
    declared = declared[tested(declared.size)]
    for at in drawn:
        if not np.isfinite(at.noise).all():
            wild = Premise("P3", UNBIASED, False, f"draws of {name} at {at.point} are not finite", 0.0)
            return wild, Premise("P4", VARIANCE, False, wild.how, 0.0), Premise("P5", INDEPENDENT, True, "not tested")
    fresh = _independent(drawn, name, level / 3, proven)
    if not fresh.held:
        untested = f"not tested: the {len(drawn[0].flat)} draws are not independent"
        how = untested if math.isfinite(total) else f"{name} has infinite variance"
        return Premise("P3", UNBIASED, True, untested), Premise("P4", VARIANCE, math.isfinite(total), how), fresh
    return _unbiased(drawn, declared, name, level / 3, proven), _bounded(drawn, declared, name, level / 3, total), fresh


def _unbiased(drawn: list[Draws], declared: Array, name: str, level: float, proven: bool) -> Premise:
    tests = [nonzero_mean(at.flat, declared, at.rounding, level / len(drawn)) for at in drawn]
    worst, at = _worst(tests, drawn)
    count = len(at.flat)
    if worst.refused:
        off = at.flat[:, worst.where].mean()
        how = (
            f"the mean of {count} draws of {name} at {at.point} is off by {off:.4g} in coordinate {worst.where}: "
            f"{worst.statistic:.3g} standard errors, {worst.critical:.3g} allowed"
        )
        return Premise("P3", UNBIASED, False, how, level)
    how = f"{name} has mean zero by construction; " if proven else ""
    how += (
        f"the mean of {count} draws at {at.point} is off by {worst.statistic:.2g} standard errors, {worst.critical:.3g} allowed"
    )
    power = f"a bias of {tests[0].detectable:.2g} σ_j of one coordinate at x¹ is found with 95 %"
    return Premise("P3", UNBIASED, True, how, level, power)


def _bounded(drawn: list[Draws], declared: Array, name: str, level: float, total: float) -> Premise:
    if not math.isfinite(total):
        return Premise("P4", VARIANCE, False, f"{name} has infinite variance")
    share = level / 3
    tests = [excess_variance(at.flat, declared, at.rounding, share / len(drawn)) for at in drawn]
    worst, at = _worst(tests, drawn)
    if worst.refused:
        which = f"in coordinate {worst.where}" if worst.where < len(declared) else "in all"
        how = (
            f"{len(at.flat)} draws of {name} at {at.point} have a larger variance than the noise declares, {which}: "
            f"{worst.statistic:.3g} standard errors above it, {worst.critical:.3g} allowed"
        )
        return Premise("P4", VARIANCE, False, how, level)
    counts = [contradicted_variance(at.flat, declared, share / len(drawn)) for at in drawn]
    worst, at = _worst(counts, drawn)
    if worst.refused:
        how = (
            f"draws of {name} at {at.point} exceed multiples of the declared σ_j in coordinate {worst.where} more often "
            f"than any law of that variance: p = 10^−{worst.statistic:.3g}, 10^−{worst.critical:.3g} allowed"
        )
        return Premise("P4", VARIANCE, False, how, level)
    tail = heavy_tail(drawn[0].flat, share)
    if tail.refused:
        how = (
            f"{name} has heavy tails: their index is below {1 / tail.statistic:.3g} at {drawn[0].point} "
            f"({len(drawn[0].flat)} draws), and variance is infinite up to index 2"
        )
        return Premise("P4", VARIANCE, False, how, level)
    how = f"σ² = {total:.4g}; {len(drawn[0].flat)} draws at x¹, and fewer at {len(drawn) - 1} more points, do not exceed it"
    power = f"a variance {tests[0].detectable:.3g} times the declared one is found with 95 % (Gaussian noise)"
    if tail.detectable > 0:
        power += f", tails of index {tail.detectable:.2g} too (all coordinates independent)"
    return Premise("P4", VARIANCE, True, how, level, power)


def _independent(drawn: list[Draws], name: str, level: float, proven: bool) -> Premise:
    found, at = dependence(drawn[0].noise, drawn[0].rounding, level), drawn[0]
    steps, trials, _ = at.noise.shape
    if found.refused:
        how = (
            f"{name} is not drawn afresh: over {steps} steps of {trials} trials at {at.point} noise is correlated with that of "
            f"another step or trial, {found.statistic:.3g} standard errors, {found.critical:.3g} allowed"
        )
        return Premise("P5", INDEPENDENT, False, how, level)
    how = f"{name} is drawn afresh at every step; " if proven else ""
    how += (
        f"correlations over {steps} steps of {trials} trials are within {found.statistic:.2g} standard errors, "
        f"{found.critical:.3g} allowed"
    )
    power = f"a correlation of {found.detectable:.2g} between steps up to 3 apart is found with 95 %"
    return Premise("P5", INDEPENDENT, True, how, level, power)


def _worst(tests: list[Finding], drawn: list[Draws]) -> tuple[Finding, Draws]:
    """The test closest to refusing, or that does, with its draws."""

    def urgency(finding: Finding) -> float:
        ratio = finding.statistic / finding.critical
        return math.inf if math.isnan(ratio) else ratio

    return max(zip(tests, drawn, strict=True), key=lambda pair: urgency(pair[0]))


# --- P6 ------------------------------------------------------------------------------------------------------------------


def _oblivious(setting: Setting, seed: int) -> Premise:
    statement, kind = "the selection does not depend on the noise", setting.algorithm.subspace
    if against := contradiction(setting.algorithm, setting.problem.shapes):
        return Premise("P6", statement, False, against)
    problem, noise, algorithm = setting.problem, setting.noise, setting.algorithm
    changed = first_difference(problem, noise, algorithm, 1 / setting.smoothness, seed)
    if changed is not None:
        how = "svd selects by the current stochastic gradient" if kind == "svd" else f'subspace "{kind}" reads the noise'
        how += f": with other noise and the same seeds the set of period {changed} is another"
        bias = selection_bias(problem, noise, algorithm, seed)
        if bias is not None and setting.total_variance:
            how += f"; at x¹ this puts ({100 * bias[0]:.3g} ± {200 * bias[1]:.2g}) % of ‖∇f‖² on E⟨∇f, u⟩"
        return Premise("P6", statement, False, how, 0.0)
    if setting.runs is None:
        how = f'subspace "{kind}" is not known to be oblivious: it does not declare its share'
        return Premise("P6", statement, False, how)
    laws = {
        "fixed": "the set never changes",
        "redrawn": "the set is drawn from a stream of its own",
        "scheduled": "the set follows a schedule",
        "turning": "the basis is drawn from a stream of its own",
    }
    how = laws[setting.runs.law] + "; a rerun with other noise has the same sets"
    return Premise("P6", statement, True, how, 0.0, "any dependence in the first 4 periods of a rerun is found")


def _named(setting: Setting) -> str:
    """The noise in words."""
    return f"{type(setting.noise).__name__} noise" if setting.total_variance else "a gradient without noise"
