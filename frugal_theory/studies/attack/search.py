"""Attack a theorem: search for the quadratic, start, noise and sets on which it is tightest, with the exact engine.

Every candidate is an experiment whose eigenvalues, start, deviations and sets are spelled out, so the worst one found is
an experiment file. What stays fixed is what the theorem's constants are made of: L, the total variance Σσ_j², the
dimension, the number of steps, and β and α unless they are set free.

On a diagonal quadratic both sides are sums over the start's and the noise's shares of the coordinates, but for what the
coordinates have in common (the law of the sets, L, α, β). A ratio of sums is at most the largest ratio of its parts,
so the worst instance tends to a corner: all of the gap, or all of the noise, in one coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Experiment, Quadratic, quoted
from frugal_theory.config.load import ExperimentError, dump, parse
from frugal_theory.evidence.exact.expectations import METRICS, expectations
from frugal_theory.instance import instance_of, setting_of
from frugal_theory.studies.attack.candidates import PARTS, Space
from frugal_theory.studies.attack.optimise import OPTIMIZERS, polish, search
from frugal_theory.theorems import THEOREMS, Theorem
from frugal_theory.verdicts.claims import Claims, claims_of
from frugal_theory.verdicts.judging import judge
from frugal_theory.verdicts.verdict import Verdict

__all__ = ["Attack", "attack"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Attack:
    """The worst instance found. ``ratio`` is measured/bound at its worst horizon; ``verdict`` the exact engine's there.

    ``searched``: the parts that were free and could be. ``best``: the largest ratio after each evaluation.
    """

    experiment: Experiment
    theorem: str
    verdict: Verdict
    searched: tuple[str, ...]
    best: Array

    @property
    def ratio(self) -> float:
        """measured/bound; for a theorem with hidden constants, the constant that it implies."""
        return float(self.best[-1])

    @property
    def toml(self) -> str:
        """The instance as an experiment file."""
        step = self.verdict.step
        head = f"# The worst instance found for {self.theorem}: measured/bound = {self.ratio:.6g} at k = {step}\n"
        searched = f"# by the exact engine, after {len(self.best)} evaluations over {', '.join(self.searched)}.\n"
        return f"{head}{searched}\n{dump(self.experiment)}"


def attack(
    experiment: Experiment,
    theorem: str | None = None,
    *,
    free: Sequence[str] = PARTS[:4],
    evaluations: int = 2000,
    optimizer: str = "differential-evolution",
    progress: Callable[[int, int, float], None] | None = None,
) -> Attack:
    """Search for the instance with the largest measured/bound, over all horizons at which ``verify`` looks.

    ``theorem`` defaults to the first of the experiment's that applies to it; ``free`` names the parts to search;
    ``progress(done, evaluations, best)`` is called as it goes. The seed is the experiment's. Raises ExperimentError for
    what is no quadratic, for a theorem that does not apply or whose metric has no exact expectation, and where nothing
    is left to search.
    """
    if optimizer not in OPTIMIZERS:
        raise ExperimentError(f'{experiment.name}: attack: no optimizer "{optimizer}"; allowed: {quoted(OPTIMIZERS)}')
    chosen = _theorem(experiment, theorem)
    space = Space(experiment, chosen, _checked(experiment, free))
    if space.size == 0:
        raise ExperimentError(f"{experiment.name}: attack: nothing to search in {', '.join(free)} for {chosen.name}")
    best: list[float] = []
    worst_genes = np.full(space.size, 0.5)

    def minus_ratio(genes: Array) -> float:
        nonlocal worst_genes
        verdict = _judged(space.instance(genes), chosen)
        ratio = 0.0 if verdict is None or verdict.tightness is None else verdict.tightness
        if not best or ratio > best[-1]:
            worst_genes = np.array(genes)
        best.append(max([ratio, *best[-1:]]))
        if progress is not None:
            progress(len(best), evaluations, best[-1])
        return -ratio

    search(minus_ratio, space.size, optimizer, evaluations, experiment.seed)
    polish(minus_ratio, worst_genes, evaluations - len(best))
    found = space.instance(worst_genes)
    written = parse(dump(found), f"{experiment.name}: attack")
    verdict = _judged(written, chosen, premises=True)
    if verdict is None:
        raise ExperimentError(f"{experiment.name}: attack: {chosen.name} applies to no instance that was tried")
    return Attack(written, chosen.name, verdict, space.parts, np.array(best))


# --- what it is judged by --------------------------------------------------------------------------------------


def _judged(experiment: Experiment, theorem: Theorem, *, premises: bool = False) -> Verdict | None:
    """The verdict of the exact expectation; None where the theorem does not apply."""
    if premises:
        (claims,) = claims_of(experiment, [theorem])
    else:
        claims = Claims(instance_of(experiment), (theorem,))
    if claims.excuse(theorem) is not None:
        return None
    (verdict,) = judge([claims], [expectations(claims.instance, [theorem.metric])], experiment.verify.confidence)
    return verdict


def _checked(experiment: Experiment, free: Sequence[str]) -> tuple[str, ...]:
    unknown = [part for part in free if part not in PARTS]
    if unknown:
        raise ExperimentError(f'{experiment.name}: attack: "{unknown[0]}" cannot be searched; allowed: {quoted(PARTS)}')
    return tuple(free)


def _theorem(experiment: Experiment, name: str | None) -> Theorem:
    """The theorem to attack. Raises ExperimentError if there is none."""
    if not isinstance(experiment.problem, Quadratic):
        raise ExperimentError(f'{experiment.name}: attack: problem.kind = "quadratic" is needed, for exact expectations')
    names = experiment.verify.theorems if name is None else (name,)
    reason = ""
    for candidate in names:
        if candidate not in THEOREMS:
            raise ExperimentError(f'{experiment.name}: attack: no theorem "{candidate}"; allowed: {quoted(THEOREMS)}')
        theorem = THEOREMS[candidate]
        if theorem.metric not in METRICS:
            reason = f"the metric of {candidate} has no exact expectation"
        elif excuse := theorem.covers(setting_of(experiment)):
            reason = f"{candidate} does not apply: {excuse}"
        else:
            return theorem
    raise ExperimentError(f"{experiment.name}: attack: {reason}")
