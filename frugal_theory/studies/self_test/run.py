"""Run the self-test: every planted falsehood is to be caught, and nothing true may raise an alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.horizons import JUDGED, horizons
from frugal_theory.evidence.monte_carlo.simulation import monte_carlo, simulation
from frugal_theory.studies.self_test.engines import FAULTS
from frugal_theory.studies.self_test.finding import Finding
from frugal_theory.studies.self_test.stages import ENGINE, STAGES, build
from frugal_theory.studies.self_test.theorems import PLANTS, TIGHT
from frugal_theory.studies.self_test.traps import TRAPS, sprung
from frugal_theory.testing.false_theorem import scaled
from frugal_theory.theorems import THEOREMS, Theorem
from frugal_theory.verdicts.claims import Claims, claims_of
from frugal_theory.verdicts.verdict import Verdict
from frugal_theory.verdicts.verify import gather, settle_all

__all__ = ["CUT", "Finding", "Sheet", "self_test"]

Array = NDArray[np.float64]

CUT = 0.9
"""A bound at this share of its tight value is false."""

ROUNDING = 1e-9
"""Relative rounding of the exact engine and of evidence that nothing random went into."""


@dataclass(frozen=True)
class Sheet:
    """All findings. All alarms together are wrong with probability at most 1 − ``confidence``."""

    findings: tuple[Finding, ...]
    confidence: float

    @property
    def planted(self) -> list[Finding]:
        """The falsehoods."""
        return [finding for finding in self.findings if finding.false]

    @property
    def true(self) -> list[Finding]:
        """Their true counterparts."""
        return [finding for finding in self.findings if not finding.false]

    @property
    def passed(self) -> bool:
        """Whether everything planted was caught and nothing true raised an alarm."""
        return all(finding.right for finding in self.findings)

    @property
    def sentence(self) -> str:
        """The count, in one sentence."""
        caught, alarms = sum(f.alarm for f in self.planted), sum(f.alarm for f in self.true)
        return (
            f"{caught} of {len(self.planted)} planted faults caught ({100 * caught / len(self.planted):.3g} %), "
            f"{alarms} of {len(self.true)} true ones raised an alarm; "
            f"confidence {100 * self.confidence:g} % for all together."
        )


def self_test(
    *,
    budget: float = 1.0,
    seed: int = 0,
    confidence: float = 0.99,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Sheet:
    """Plant every falsehood and look whether ``verify``, or the exact engine against Monte Carlo, catches it.

    ``budget`` multiplies the trials, but not those of the traps, which are set for few. Theorems, engines and traps have a
    third of the error level each, and within each all comparisons share it (Bonferroni). ``progress(what, done, total)`` is
    called as stages finish. Raises ValueError for a budget that is not positive.
    """
    parts = parts_of(budget=budget, seed=seed, confidence=confidence, jobs=jobs, cluster=cluster, progress=progress)
    return Sheet(tuple(finding for part in parts.values() for finding in part()), confidence)


def parts_of(
    *,
    budget: float,
    seed: int,
    confidence: float,
    jobs: int,
    cluster: str | None,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, Callable[[], list[Finding]]]:
    """The self-test's "theorems", "engines" and "traps", each with a third of the error level, to be run one by one.

    ``jobs`` processes, or the workers of the Dask ``cluster``, share the theorems' trials; all else is done in this
    process alone.
    """
    if not budget > 0:
        raise ValueError(f"budget = {budget}: a number > 0 is allowed")
    third = 1 - (1 - confidence) / 3
    total = len(STAGES) + len(ENGINE) + sum(len(fault.stages) for fault in FAULTS) + len(TRAPS)
    done = 0

    def report(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(what, done, total)

    return {
        "theorems": lambda: _theorems(budget, seed, third, report, jobs, cluster),
        "engines": lambda: _engines(budget, seed, third, report),
        "traps": lambda: _traps(seed, third, report),
    }


# --- theorems ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Claim:
    """A theorem to be judged, and whether it is false."""

    theorem: Theorem
    what: str
    false: bool


def _theorems(
    budget: float, seed: int, confidence: float, report: Callable[[str], None], jobs: int, cluster: str | None
) -> list[Finding]:
    ready, evidence, planted = [], [], []
    for stage in STAGES.values():
        names = dict.fromkeys(
            [name for where, name in TIGHT if where == stage.name] + [p.theorem for p in PLANTS if p.stage == stage.name]
        )
        (claims,) = claims_of(build(stage, budget, seed), [THEOREMS[name] for name in names])
        expected = stage.expectation(claims)
        here = [_Claim(THEOREMS[name], "as it is", False) for name in names]
        for where, name in TIGHT:
            if where == stage.name:
                theorem = THEOREMS[name]
                share = float(np.max(expected[theorem.metric] / theorem.bound(claims.setting)))
                cut = f"bound × {CUT} of its tight {share:.3f}"
                here.append(_Claim(scaled(theorem, share, "bound × tight"), f"bound × its tight {share:.3f}", False))
                here.append(_Claim(scaled(theorem, CUT * share, cut), cut, True))
        here += [_Claim(plant.theorem_with_it(), plant.what, True) for plant in PLANTS if plant.stage == stage.name]
        claims = replace(claims, theorems=tuple(claim.theorem for claim in here))
        ready.append(claims)
        evidence.append(gather(claims, jobs=jobs, cluster=cluster))
        planted.append([(stage.name, claim) for claim in here])
        report(stage.name)
    evidence, verdicts = settle_all(ready, evidence, confidence, jobs=jobs, cluster=cluster)
    flat = [(found, *pair) for found, pairs in zip(evidence, planted, strict=True) for pair in pairs]
    return [
        _theorem_finding(stage, claim, verdict, found) for verdict, (found, stage, claim) in zip(verdicts, flat, strict=True)
    ]


def _theorem_finding(stage: str, claim: _Claim, verdict: Verdict, evidence: Mapping[str, Evidence]) -> Finding:
    if verdict.bound is None or verdict.step is None:
        raise RuntimeError(f"self-test: {claim.theorem.name} on the stage {stage!r}: {verdict.reason}")
    found = evidence[verdict.metric or claim.theorem.metric]
    mean, error = float(found.mean[verdict.step - 1]), float(_standard_error(found)[verdict.step - 1])
    off = mean - verdict.bound * (1 + ROUNDING)
    deviation = off / error if error > 0 else float(np.copysign(np.inf, off))
    said = f"{verdict.status} ({'exact' if verdict.source == 'exact' else 'Monte Carlo'})"
    alarm = verdict.status == "violated"
    return Finding(claim.theorem.name, claim.what, stage, claim.false, alarm, said, mean / verdict.bound, deviation)


# --- engines -------------------------------------------------------------------------------------------------


def _engines(budget: float, seed: int, confidence: float, report: Callable[[str], None]) -> list[Finding]:
    ready = {name: claims_of(build(stage, budget, seed), [THEOREMS["run_length"]])[0] for name, stage in ENGINE.items()}
    expected = {name: stage.expectation(ready[name]) for name, stage in ENGINE.items()}
    metrics = max(len(values) for values in expected.values())
    comparisons = (len(ENGINE) + sum(len(fault.stages) for fault in FAULTS)) * metrics * JUDGED
    single = 1 - (1 - confidence) / comparisons
    findings = []
    for name, claims in ready.items():
        findings.append(
            _engine_finding("as it is", name, False, claims, _measure(claims, expected[name]), expected[name], single)
        )
        report(name)
    for fault in FAULTS:
        for name in fault.stages:
            with fault.planted():
                found = _measure(ready[name], expected[name])
            findings.append(_engine_finding(fault.what, name, True, ready[name], found, expected[name], single))
            report(fault.what)
    return findings


def _measure(claims: Claims, expected: Mapping[str, Array]) -> dict[str, Evidence]:
    """Monte Carlo evidence of every metric whose expectation is known, whatever the theorems say of the step size."""
    return monte_carlo(simulation(claims.instance, list(expected)))


def _engine_finding(
    what: str,
    stage: str,
    false: bool,
    claims: Claims,
    evidence: Mapping[str, Evidence],
    expected: Mapping[str, Array],
    single: float,
) -> Finding:
    """Hold Monte Carlo evidence against the exact expectation at every horizon, in every metric."""
    at = horizons(claims.setting.steps) - 1
    alarm, worst = False, (0.0, 1.0)
    for metric, exact in expected.items():
        lower, upper = evidence[metric].interval(single)
        slack = ROUNDING * np.abs(exact[at])
        alarm |= bool(np.any((exact[at] < lower[at] - slack) | (exact[at] > upper[at] + slack)))
        mean, error = evidence[metric].mean[at], _standard_error(evidence[metric])[at]
        off = np.maximum(np.abs(mean - exact[at]) - slack, 0)  # a first step is the same in all trials, but for rounding
        deviations = np.divide(off, error, out=np.where(off > 0, np.inf, 0.0), where=error > 0)
        k = int(np.argmax(deviations))
        worst = max(worst, (float(deviations[k]), float(mean[k] / exact[at][k])))
    said = "not the exact one" if alarm else "as exact"
    return Finding("engine", what, stage, false, alarm, said, worst[1], worst[0])


def _standard_error(evidence: Evidence) -> Array:
    if evidence.deviation is None:
        return np.zeros_like(evidence.mean)
    return evidence.deviation / np.sqrt(evidence.trials)


# --- traps ---------------------------------------------------------------------------------------------------


def _traps(seed: int, confidence: float, report: Callable[[str], None]) -> list[Finding]:
    ready = [(trap.name, list(trap.trials(seed))) for trap in TRAPS]
    single = (1 - confidence) / sum(trial.level is None for _, trials in ready for trial in trials)
    findings = []
    for name, trials in ready:
        findings += sprung(name, trials, single)
        report(name)
    return findings
