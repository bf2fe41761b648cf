"""Traps: experiments that make a careless judge say "holds" of what is false, or "violated" of what is true.

Each of them fooled a judge that trusted what its trials looked like, or what a noise or a problem said of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Algorithm
from frugal_theory.evidence.exact.expectations import expectations
from frugal_theory.instance import Instance
from frugal_theory.premises import check_premises
from frugal_theory.problems import Gaussian, NoNoise, Quadratic
from frugal_theory.problems.problem import Noise, Problem
from frugal_theory.studies.self_test.fakes import Additive, Biased, Claimed, Gentle, Renamed, Together, jumps
from frugal_theory.studies.self_test.finding import Finding
from frugal_theory.testing.false_theorem import Changed, scaled
from frugal_theory.theorems import THEOREMS, Theorem
from frugal_theory.theorems.theorem import further_premises
from frugal_theory.verdicts import claims as claiming
from frugal_theory.verdicts.claims import Claims
from frugal_theory.verdicts.judging import verdict
from frugal_theory.verdicts.status import counted
from frugal_theory.verdicts.verdict import Verdict
from frugal_theory.verdicts.verify import gather

__all__ = ["TRAPS", "Trap", "sprung"]

Array = NDArray[np.float64]
Alarm = Callable[[Verdict], bool]

METRIC = "squared_gradient_norm"
SGD = Algorithm(density=0.0, state_full="sgdm", state_free="sgd")
SIGNS = Algorithm(density=0.0, state_full="sgdm", state_free="signsgd")


@dataclass(frozen=True)
class Trial:
    """One verdict that is asked for. ``false``: whether an alarm is wanted, and ``alarm`` what counts as one.

    ``level``: the probability with which the verdict may be wrong, if it has no share of that of all.
    """

    claims: Claims
    theorem: Theorem
    what: str
    false: bool
    alarm: Alarm
    level: float | None = None


@dataclass(frozen=True)
class Trap:
    """A way to fool a judge: ``trials(seed)`` are the verdicts that it is tried on; those that are alike stand side by side."""

    name: str
    trials: Callable[[int], Iterator[Trial]]


def sprung(name: str, asked: Iterable[Trial], single: float) -> list[Finding]:
    """What the judge says of a trap's ``trials``: a finding for all verdicts that are to show the same.

    Something false is caught if no verdict was fooled, and something true raises an alarm if one was. ``single``: the error
    level of a verdict.
    """
    findings = []
    for (what, false), same in groupby(asked, lambda trial: (trial.what, trial.false)):
        trials = list(same)
        verdicts = [_judged(trial, single) for trial in trials]
        alarms = [trial.alarm(found) for trial, found in zip(trials, verdicts, strict=True)]
        alarm = all(alarms) if false else any(alarms)
        shares = [found.tightness for found in verdicts if found.tightness is not None and math.isfinite(found.tightness)]
        said = counted(found.status for found in verdicts) if len(verdicts) > 1 else verdicts[0].status
        ratio = max(shares) if shares else math.nan
        findings.append(Finding("judge", what, name, false, alarm, said, ratio, math.nan))
    return findings


def _judged(trial: Trial, single: float) -> Verdict:
    level = single if trial.level is None else trial.level
    with np.errstate(all="ignore"):  # what overflows is meant to
        return verdict(trial.claims, trial.theorem, gather(trial.claims), level, 1 - level)


def _refuted(found: Verdict) -> bool:
    return found.status == "violated"


def _not_believed(found: Verdict) -> bool:
    """It was judged, and does not hold."""
    return found.status in ("violated", "inconclusive")


def _undecided(found: Verdict) -> bool:
    """It was not judged at all: no number is named."""
    return found.status == "inconclusive" and found.measured is None


def _refused(premise: str) -> Alarm:
    return lambda found: found.status == "not applicable" and found.reason.startswith(f"Premise {premise} fails")


def _judges(found: Verdict) -> bool:
    return found.status == "not applicable"


def _claims(instance: Instance, theorems: Iterable[Theorem], *, tested: bool = False) -> Claims:
    """As :func:`~frugal_theory.verdicts.claims.claims_of` makes them; premises where they are what is asked for."""
    chosen, setting = tuple(theorems), instance.setting
    if not tested:
        return Claims(instance, chosen, noise=claiming.fourth_moment(instance))
    further = [name for theorem in chosen if theorem.covers(setting) is None for name in further_premises(theorem, setting)]
    return Claims(instance, chosen, check_premises(instance, further=further), claiming.fourth_moment(instance))


# --- the traps -------------------------------------------------------------------------------------------------------


def _correlated(seed: int) -> Iterator[Trial]:
    """Noise along the eigenvector that is selected: the trace on the set is up to d times ρσ², which is what theorems had."""
    d, steps = 20, 200
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
    problem = Quadratic(np.arange(1, d + 1.0) ** -1, rotation, start=(1e-3,) * d)
    momentum = {"density": 1 / d, "subspace": "eigen", "update_gap": 10, "state_full": {"rule": "sgdm", "beta": 0.5}}
    algorithm = Algorithm(**momentum, state_free={"rule": "none"})  # type: ignore[arg-type]
    noise = Together(np.sign(problem.bases["x"][:, 0]))
    instance = Instance.of_parts(problem, noise, algorithm, learning_rate=0.05, steps=steps, trials=64, seed=seed)
    for name in ("run_length", "run_length_sharp"):
        true = THEOREMS[name]
        what = f"{name} with the trace ρσ²"
        old = Changed(true, what, lambda setting, true=true: true.bound(setting.having(uncorrelated=True)))  # type: ignore[misc]
        claims = _claims(instance, (true, old))
        yield Trial(claims, old, what, True, _refuted)
        yield Trial(claims, true, f"{name} as it is", False, _refuted)


AGREEMENTS = 200
"""Runs of the trap of few trials: three of them agree, and are above the bound, in about 24."""


def _few(seed: int) -> Iterator[Trial]:
    """Noise 0 with probability 0.51, else ±1/0.7, α = 1, two steps: averages of ½ or 1.52; 1 is expected, 1.5 the bound."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return (rng.random(shape) >= 0.51) * rng.choice([-1.0, 1.0], shape) / 0.7

    for number in range(AGREEMENTS):
        keys = {"learning_rate": 1.0, "steps": 2, "trials": 3, "seed": seed * AGREEMENTS + number}
        instance = Instance.of_parts(Quadratic(np.ones(1), start=(1.0,)), Additive(draw), SGD, **keys)  # type: ignore[arg-type]
        claims = Claims(instance, (THEOREMS["sgd"],))
        # three trials at 1.01 times the bound multiply no stake by 100, so at this level the judge is never wrong
        yield Trial(claims, THEOREMS["sgd"], "sgd, by three trials that agree", False, _refuted, level=0.01)


def _rare_sets(seed: int) -> Iterator[Trial]:
    """(Σ x)²/16, β ≈ 1, a set that is held for the whole run: with all in it, as 2⁻⁸ of the trials are, nothing moves."""
    d, steps = 8, 1500
    direction = np.full((d, 1), d**-0.5)
    basis = np.linalg.qr(np.concatenate([direction, np.eye(d)[:, : d - 1]], axis=1))[0]
    problem = Quadratic(np.array([1.0] + [0.0] * (d - 1)), basis, tuple(direction[:, 0]))
    drawn = {"density": 0.5, "subspace": "coordinates", "update_gap": steps, "sampling": "independent"}
    algorithm = Algorithm(**drawn, state_full={"rule": "sgdm", "beta": 1 - 1e-8}, state_free={"rule": "sgd"})  # type: ignore[arg-type]
    by_count = []
    for count in range(d + 1):  # f knows only how many coordinates have momentum
        one = algorithm.model_copy(update={"set": tuple(range(count))})
        held = Instance.of_parts(problem, Gaussian(1e-3), one, learning_rate=1.5, steps=steps)
        by_count.append(expectations(held, [METRIC])[METRIC].mean)
    chance = np.array([math.comb(d, count) for count in range(d + 1)]) / 2**d
    common = chance[:d] @ np.array(by_count[:d]) / chance[:d].sum()
    expected = chance @ np.array(by_count)
    bound = np.maximum(1.5 * common, expected / 3.3)
    noise = Additive(lambda rng, shape: 1e-3 * rng.standard_normal(shape), 1e-6)
    claim = Claimed(bound, "false by a factor of up to 3.3")
    for number in range(2):
        keys = {"learning_rate": 1.5, "steps": steps, "trials": 64, "seed": 2 * seed + number}
        instance = Instance.of_parts(problem, noise, algorithm, **keys)  # type: ignore[arg-type]
        claims = Claims(instance, (claim,), noise=claiming.FourthMoment(3.0))
        yield Trial(claims, claim, f"a bound {np.max(expected / bound):.2g} times too small", True, _not_believed)


def _two_measures(seed: int) -> Iterator[Trial]:
    """A theorem that calls its own measure by the name of another's."""
    keys = {"learning_rate": 0.5, "steps": 60, "trials": 128, "seed": seed}
    noise = Additive(lambda rng, shape: rng.standard_normal(shape))  # of one's own: nothing exact corrects what trials say
    instance = Instance.of_parts(Quadratic(np.ones(4), start=(0.1,) * 4), noise, SGD, **keys)  # type: ignore[arg-type]
    true = THEOREMS["sgd"]
    false = scaled(true, 0.5, "sgd × 0.5")
    for theorem, factor in ((false, 1e-9), (true, 1e9)):
        what = f"{'sgd × 0.5' if theorem is false else 'sgd'} beside a measure of ‖g‖² × {factor:g}"
        for first in (True, False):
            other = Renamed(factor)
            claims = _claims(instance, (other, theorem) if first else (theorem, other))
            yield Trial(claims, theorem, what, theorem is false, _refuted)


def _rare_jumps(seed: int) -> Iterator[Trial]:
    """Noise that is 0 but once in 2000 draws or more, with the variance that it declares: few trials see a jump, or none."""
    at_rest = Quadratic(np.ones(2), start=(0.0, 0.0))
    for rate, steps, trials in ((1 / 2000, 20, 16), (1 / 2000, 20, 64), (1 / 20000, 2, 512)):
        like = Instance.of_parts(at_rest, Gaussian(1.0), SGD, learning_rate=0.5, steps=steps)
        exact = expectations(like, [METRIC])[METRIC].mean
        claim = Claimed(0.5 * exact + 1e-9, "half of the expectation")
        for number in range(2):
            keys = {"learning_rate": 0.5, "steps": steps, "trials": trials, "seed": 2 * seed + number}
            instance = Instance.of_parts(at_rest, Additive(jumps(rate)), SGD, **keys)  # type: ignore[arg-type]
            what = f"half of the expectation, {trials} trials, a jump in {1 / rate:.0f}"
            yield Trial(_claims(instance, (claim,)), claim, what, True, _not_believed)


def _premise(
    what: str, premise: str, theorem: str, seed: int, problem: Problem, pair: tuple[Noise, Noise], algorithm: Algorithm
) -> Iterator[Trial]:
    """A noise for which the premise fails, and one for which it holds."""
    for noise, false in zip(pair, (True, False), strict=True):
        alpha = 0.05
        instance = Instance.of_parts(problem, noise, algorithm, learning_rate=alpha, steps=400, trials=16, seed=seed)
        claims = _claims(instance, (THEOREMS[theorem],), tested=True)
        said = what if false else f"{what}: no, it is as it says"
        yield Trial(claims, THEOREMS[theorem], said, false, _refused(premise) if false else _judges)


def _flags(seed: int) -> Iterator[Trial]:
    """Words of a noise or of a problem that are not true."""
    start = Quadratic(np.ones(10), start="ones")
    normal = lambda rng, shape: rng.standard_normal(shape)  # noqa: E731
    signs = lambda rng, shape: rng.choice([-1.0, 1.0], shape)  # noqa: E731
    pair = Additive(signs, symmetric_unimodal=True), Additive(normal, symmetric_unimodal=True)
    yield from _premise("±σ said to have one mode", "symmetric_unimodal", "signsgd_symmetric", seed, start, pair, SIGNS)
    heavy = Additive(lambda rng, shape: rng.standard_t(3.0, shape), 3.0, degrees_of_freedom=12.0)
    light = Additive(lambda rng, shape: rng.standard_t(12.0, shape), 1.2, degrees_of_freedom=12.0)
    yield from _premise("Student's t, ν = 3, said to be 12", "P4", "sgd", seed, start, (heavy, light), SGD)
    for times, false in ((10.0, True), (1.0, False)):
        problem = Gentle(np.linspace(0.5, 1.0, 10), times, start="ones")
        instance = Instance.of_parts(problem, Gaussian(0.1), SIGNS, learning_rate=0.01, steps=100, trials=16, seed=seed)
        claims = _claims(instance, (THEOREMS["signsgd"],), tested=True)
        what = "L_j said to be a tenth" if false else "L_j said to be a tenth: no, it is as it says"
        yield Trial(claims, THEOREMS["signsgd"], what, false, _refused("coordinate_smoothness") if false else _judges)


def _regions(seed: int) -> Iterator[Trial]:
    """Noise that is biased only where the run comes by: it starts at ‖x‖ = 3.2 and ends near 0."""
    start, fair = Quadratic(np.ones(10), start="ones"), Gaussian(0.1)
    for what, low, high in (("a bias on the way, 1.9 < ‖x‖ < 2.9", 1.9, 2.9), ("a bias near the optimum, ‖x‖ < 0.5", -1, 0.5)):
        yield from _premise(what, "P3", "sgd", seed, start, (Biased(0.1, 0.1, low, high), fair), SGD)


def _overflow(seed: int) -> Iterator[Trial]:
    """A start at 10¹⁶⁰. ‖x‖² is not a number that there is; with L = 10⁻²⁰⁰ all that a theorem needs is one, and is judged."""
    true, false = THEOREMS["sgd"], scaled(THEOREMS["sgd"], 1e-3)
    for curvature in (1.0, 1e-200):
        problem = Quadratic(np.full(2, curvature), start=(1e160, 0.0))
        keys = {"learning_rate": 0.5 / curvature, "steps": 20, "trials": 16, "seed": seed}
        with np.errstate(over="ignore", invalid="ignore"):
            instance = Instance.of_parts(problem, NoNoise(), SGD, **keys)  # type: ignore[arg-type]
        claims = Claims(instance, (true, false), noise=claiming.FourthMoment(0.0))
        at = f"from 1e160 with L = {curvature:g}"
        if curvature == 1:
            for theorem in (true, false):
                yield Trial(claims, theorem, f"sgd and sgd × 0.001 {at}: nothing to judge", True, _undecided)
        else:
            yield Trial(claims, false, f"sgd × 0.001 {at}", True, _refuted)
            yield Trial(claims, true, f"sgd {at}", False, _refuted)


TRAPS: tuple[Trap, ...] = (
    Trap("correlated noise in a basis", _correlated),
    Trap("few trials of discrete noise", _few),
    Trap("rare joint sets", _rare_sets),
    Trap("two measures, one name", _two_measures),
    Trap("rare jumps", _rare_jumps),
    Trap("words that are not true", _flags),
    Trap("a bias in a region", _regions),
    Trap("overflow", _overflow),
)
