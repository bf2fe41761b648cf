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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.config import Experiment, Quadratic, quoted
from frugal_theory.config.load import ExperimentError, dump, parse
from frugal_theory.evidence.exact.expectations import METRICS, expectations
from frugal_theory.instance import instance_of, resolved, setting_of
from frugal_theory.problems import build_noise, build_problem
from frugal_theory.report.drawing import COLOURS
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run, Status
from frugal_theory.theorems import THEOREMS, Theorem
from frugal_theory.verdicts.claims import Claims, claims_of
from frugal_theory.verdicts.judging import judge
from frugal_theory.verdicts.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OPTIMIZERS", "PARTS", "Attack", "AttackStudy", "attack"]

Array = NDArray[np.float64]

PARTS = ("spectrum", "start", "noise", "set", "schedule", "beta", "learning_rate")
"""What can be searched; the last three only if asked for. "set": fixed sets and sets drawn anew every T steps, T and ρ;
"schedule": blocks in turn as well, whose weights take the exact engine a hundred times as long."""

OPTIMIZERS = ("differential-evolution", "dual-annealing")

DECADES = 4.0
"""Eigenvalues are searched from L·10⁻⁴ to L, the gap from 10⁻⁴ to 10⁴ times σ²/L."""

LONGEST_GAP = 50
"""Update gaps are searched from 1 to this, or to the number of steps."""

SHARE_OF_POLISHING = 0.25
"""Of the evaluations: for Nelder and Mead's simplex, from the best point of the global search."""

_SETS: tuple[dict[str, Any], ...] = (
    {"subspace": "coordinates", "sampling": "independent"},
    {"subspace": "coordinates", "sampling": "fixed_size"},
    {"subspace": "blocks", "order": "random"},
    {"subspace": "coordinates", "set": ()},
)
_SCHEDULE = {"subspace": "blocks", "order": "ascending"}


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
    space = _Space(experiment, chosen, _checked(experiment, free))
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

    _search(minus_ratio, space.size, optimizer, evaluations, experiment.seed)
    _polish(minus_ratio, worst_genes, evaluations - len(best))
    found = space.instance(worst_genes)
    written = parse(dump(found), f"{experiment.name}: attack")
    verdict = _judged(written, chosen, premises=True)
    if verdict is None:
        raise ExperimentError(f"{experiment.name}: attack: {chosen.name} applies to no instance that was tried")
    return Attack(written, chosen.name, verdict, space.parts, np.array(best))


@dataclass
class AttackStudy:
    """The attack as a study: a row an evaluation, with the best ratio so far and what became of the theorem.

    ``found``: the instance, once it is measured.
    """

    theorem: str | None
    free: Sequence[str]
    evaluations: int
    optimizer: str
    found: Attack | None = None

    name = "attack"
    question = "Does an instance violate the theorem?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """The search. Raises ExperimentError as :func:`attack`."""
        import pandas as pd

        def progress(done: int, total: int, best: float) -> None:
            run.say(f"{100 * best:.4g} % of the bound")
            run.progress(done, total)

        options = {"free": self.free, "evaluations": self.evaluations, "optimizer": self.optimizer}
        self.found = found = attack(experiment, self.theorem, progress=progress, **options)  # type: ignore[arg-type]
        verdict = found.verdict
        facts = {"theorem": found.theorem, "step": verdict.step, "status": verdict.status, "reason": verdict.reason}
        return pd.DataFrame({"evaluation": np.arange(1, len(found.best) + 1), "ratio": found.best}).assign(**facts)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """The best ratio against the evaluations."""
        title = f"The instance on which {table['theorem'].iloc[0]} is tightest"
        figure, (axes,) = panels(title, ["largest measured / bound so far, against the instances tried"])
        axes.step(table["evaluation"], table["ratio"], where="post", color=COLOURS["hue-1"], linewidth=1.6)
        axes.axhline(1, color=COLOURS["quiet"], linewidth=1)
        axes.set(xlim=(1, max(2, len(table))), ylim=(0, None))
        return {"attack": figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """What was found; open where the theorem hides its constant."""
        last = table.iloc[-1]
        what = "the largest implied constant" if last["status"] == "shape only" else "the largest measured/bound"
        found = f"{what} found is {last['ratio']:.6g}, at k = {last['step']}, in {len(table)} evaluations"
        violated = last["status"] == "violated"
        status: Status = "yes" if violated else "open" if last["status"] == "shape only" else "no"
        return Answer(f"{last['theorem']}: {found}", status, failed=violated)


# --- what a candidate is ---------------------------------------------------------------------------------------


class _Space:
    """The experiments that genes in [0, 1]ⁿ stand for."""

    def __init__(self, experiment: Experiment, theorem: Theorem, free: Sequence[str]) -> None:
        self.experiment, self.theorem = experiment, theorem
        problem = build_problem(experiment)
        self.largest = problem.smoothness
        self.eigenvalues: Array = problem.eigenvalues  # type: ignore[attr-defined]  # _theorem has seen a quadratic
        self.dimension = experiment.problem.dimension  # type: ignore[union-attr]
        variance = build_noise(experiment).variance(problem)
        self.variance = float(sum(np.sum(value) for value in variance.values()))
        self.sets = _applicable_sets(experiment, theorem, free)
        self.unit = _unit_variance(experiment) if self.variance > 0 else 1.0
        d = self.dimension
        sizes = {
            "spectrum": d if d > 1 else 0,
            "start": d + 1,
            "noise": d if d > 1 and self.variance > 0 else 0,
            "set": 3 + d if self.sets else 0,
            "beta": 1 if isinstance(experiment.algorithm.state_full, Sgdm) else 0,
            "learning_rate": 1,
        }
        self.sizes = {
            part: sizes[part] for part in PARTS if (part in free or (part == "set" and "schedule" in free)) and sizes.get(part)
        }
        self.parts = tuple(self.sizes)
        self.size = sum(self.sizes.values())

    def instance(self, genes: Array) -> Experiment:
        """The experiment of these genes, every number of it spelled out."""
        ends = np.cumsum(list(self.sizes.values()))
        pieces = dict(zip(self.sizes, np.split(np.clip(genes, 0, 1), ends[:-1]), strict=True))
        experiment = self.experiment
        table, noise, algorithm = experiment.problem, experiment.noise, experiment.algorithm
        assert isinstance(table, Quadratic)  # _theorem has seen to it
        eigenvalues = self.eigenvalues
        if "spectrum" in pieces:
            depth = pieces["spectrum"] - pieces["spectrum"].min()
            eigenvalues = self.largest * 10 ** (-DECADES * depth)
            table = table.model_copy(update={"eigenvalues": _numbers(eigenvalues)})
        if "start" in pieces:
            scale = 10 ** (DECADES * (2 * pieces["start"][0] - 1))
            gap = scale * (self.variance / self.largest if self.variance else 1.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                start = np.sqrt(2 * gap * _shares(pieces["start"][1:]) / eigenvalues)
            table = table.model_copy(update={"start": _numbers(np.nan_to_num(start, posinf=0.0))})
        if "noise" in pieces:
            sigma = np.sqrt(self.variance / self.unit * _shares(pieces["noise"]))
            noise = noise.model_copy(update={"sigma": _numbers(sigma)})
        if "set" in pieces:
            kind, density, gap_gene, *member = pieces["set"]
            chosen = self.sets[min(int(kind * len(self.sets)), len(self.sets) - 1)]
            period = round((min(LONGEST_GAP, experiment.simulation.steps) + 0.0) ** float(gap_gene))
            most = 1 - 1 / self.dimension if chosen["subspace"] == "blocks" else 1.0  # all blocks at once never change
            update: dict[str, Any] = {"set": None, **chosen, "density": most * float(density), "update_gap": max(1, period)}
            if chosen.get("set") is not None:
                update["set"] = tuple(int(j) for j in np.flatnonzero(np.array(member) > 0.5))
            algorithm = algorithm.model_copy(update=update)
            table = table.model_copy(update={"blocks": self.dimension if chosen["subspace"] == "blocks" else None})
        if "beta" in pieces:
            beta = 1 - 10 ** (-3 * float(pieces["beta"][0]))
            algorithm = algorithm.model_copy(update={"state_full": Sgdm(beta=beta)})
        found = experiment.model_copy(
            update={
                "name": f"{experiment.name}-{self.theorem.name}-worst",
                "problem": table.model_copy(update={"rotated": False}),
                "noise": noise,
                "algorithm": algorithm,
                "verify": experiment.verify.model_copy(update={"theorems": (self.theorem.name,)}),
                "sweep": {},
                "cases": [],
            }
        )
        if "learning_rate" in pieces:
            fraction = 0.01 + 0.98 * float(pieces["learning_rate"][0])
            step = self.theorem.largest_step(setting_of(found))[0] * fraction
            found = found.model_copy(update={"algorithm": algorithm.model_copy(update={"learning_rate": step})})
        return resolved(found)


def _shares(genes: Array) -> Array:
    """Genes to non-negative shares with sum 1; those below a third are zero, so that corners are easily reached."""
    weights = np.maximum(genes - 1 / 3, 0) ** 2
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(genes), 1 / len(genes))


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _unit_variance(experiment: Experiment) -> float:
    """The variance of one coordinate whose ``sigma`` is 1."""
    one = experiment.model_copy(update={"noise": experiment.noise.model_copy(update={"sigma": 1.0})})
    variance = build_noise(one).variance(build_problem(one))
    return float(next(iter(variance.values())).flat[0])


def _applicable_sets(experiment: Experiment, theorem: Theorem, free: Sequence[str]) -> list[dict[str, Any]]:
    """The kinds of sets that the theorem speaks of; none where only an empty or a full set will do."""
    found = []
    assert experiment.problem is not None
    for kind in [*(_SETS if "set" in free else ()), *([_SCHEDULE] if "schedule" in free else ())]:
        update = {"set": None, "density": 0.5, "update_gap": 1, **kind}
        if kind.get("set") is not None:
            update["set"] = (0,)
        blocks = experiment.problem.dimension if kind["subspace"] == "blocks" else None
        if blocks == 1:
            continue
        instance = experiment.model_copy(
            update={
                "algorithm": experiment.algorithm.model_copy(update=update),
                "problem": experiment.problem.model_copy(update={"blocks": blocks}),
            }
        )
        settings = [instance, _with_gap(instance, 2)]
        if any(theorem.covers(setting_of(setting)) is None for setting in settings):
            found.append(kind)
    return found


def _with_gap(experiment: Experiment, gap: int) -> Experiment:
    return experiment.model_copy(update={"algorithm": experiment.algorithm.model_copy(update={"update_gap": gap})})


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


# --- how it is searched ----------------------------------------------------------------------------------------


def _search(objective: Callable[[Array], float], size: int, optimizer: str, evaluations: int, seed: int) -> None:
    """The global part of the search, with its share of the evaluations."""
    from scipy.optimize import differential_evolution, dual_annealing

    bounds, budget = [(0.0, 1.0)] * size, max(1, round((1 - SHARE_OF_POLISHING) * evaluations))
    if optimizer == "dual-annealing":
        dual_annealing(objective, bounds, maxfun=budget, rng=seed, no_local_search=True)
        return
    population = max(5, min(10 * size, budget // 20))
    points = np.random.default_rng(seed).random((population, size))
    points[0] = 0.5
    generations = max(0, budget // population - 1)
    differential_evolution(objective, bounds, init=points, maxiter=generations, tol=0, polish=False, rng=seed)


def _polish(objective: Callable[[Array], float], start: Array, evaluations: int) -> None:
    """Nelder and Mead's simplex from the best point, as far as evaluations are left."""
    from scipy.optimize import minimize

    if evaluations > len(start):
        bounds = [(0.0, 1.0)] * len(start)
        options = {"maxfev": evaluations, "xatol": 1e-6, "fatol": 1e-12, "adaptive": True}
        minimize(objective, start, method="Nelder-Mead", bounds=bounds, options=options)
