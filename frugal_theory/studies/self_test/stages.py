"""Stages: small experiments on which a theorem is tight enough that a small falsehood shows, their expectations known.

All are quadratics with λ = L = 1 in every coordinate, where a descent argument loses least. They start near the
optimum (then the noise counts) or so far away that only the start does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from frugal_theory.algorithm.step import init, step
from frugal_theory.config import Experiment
from frugal_theory.config.load import parse
from frugal_theory.evidence.exact.expectations import METRICS, exact, expectations, has_expectation
from frugal_theory.metrics import METRICS as REGISTERED
from frugal_theory.metrics import Metric
from frugal_theory.verdicts.claims import Claims

__all__ = ["ENGINE", "STAGES", "Stage", "build"]

Array = NDArray[np.float64]

COORDINATES = 8
"""Coordinates of every stage …"""

SIGNED = 2
"""… and how many more the hybrid has, off its set: few, so that the noise on the set weighs."""

_ADAPTIVE = """
name = "self-test"
[algorithm]
learning_rate = {alpha}
density = {density}
update_gap = {gap}
subspace = "{subspace}"
state_free = "{free}"
{more}
[problem]
kind = "nonconvex"
dimension = 8
samples = 40
[noise]
kind = "none"
[simulation]
steps = {steps}
trials = {trials}
max_trials = {max_trials}
"""
"""Bounded gradients, which a quadratic has not: robust regression, where nothing is random."""

_COMMON = """
name = "self-test"
[algorithm]
learning_rate = {alpha}
density = {density}
update_gap = {gap}
subspace = "{subspace}"
state_full = {{ rule = "sgdm", beta = {beta} }}
state_free = "{free}"
{more}
[problem]
{problem}
[noise]
kind = "gaussian"
sigma = {sigma}
[simulation]
steps = {steps}
trials = {trials}
max_trials = {max_trials}
"""


@dataclass(frozen=True)
class Stage:
    """An experiment of the self-test. ``start`` and ``sigma``: of every coordinate, or a list. ``problem``: the lines of its
    table, if f is not the quadratic.

    ``expected`` gives the expectation of every metric, shape (steps,); by default it is the exact engine's.
    """

    name: str
    alpha: float
    steps: int
    beta: float = 0.5
    density: float = 0.5
    gap: int = 1
    subspace: str = "coordinates"
    free: str = "sgd"
    more: str = ""
    start: float | tuple[float, ...] = 0.1
    sigma: float | tuple[float, ...] = 1.0
    problem: str = ""
    trials: int = 256
    expected: Callable[[Claims], Mapping[str, Array]] | None = None
    template: str = _COMMON

    def expectation(self, claims: Claims) -> Mapping[str, Array]:
        """The running average of E of every metric that the exact engine has, or of those of ``expected``."""
        if self.expected is not None:
            return self.expected(claims)
        own = {name: metric for name, metric in claims.measures.items() if has_expectation(claims.instance, metric)}
        found = expectations(claims.instance, (*METRICS, *own), measures=own)
        return {name: evidence.upper for name, evidence in found.items()}  # one over random bases is a hair higher


def build(stage: Stage, budget: float, seed: int) -> Experiment:
    """The stage as an experiment; ``budget`` multiplies its trials."""
    start = stage.start if isinstance(stage.start, tuple) else (stage.start,) * COORDINATES
    trials = max(16, round(budget * stage.trials))
    table = {
        **{
            key: getattr(stage, key) for key in ("name", "alpha", "density", "gap", "subspace", "beta", "free", "more", "steps")
        },
        "problem": stage.problem or f'kind = "quadratic"\neigenvalues = {[1.0] * len(start)}\nstart = {list(start)}',
        "sigma": list(stage.sigma) if isinstance(stage.sigma, tuple) else stage.sigma,
        "trials": trials,
        "max_trials": 4 * trials,
    }
    return parse(stage.template.format(**table), f"self-test stage {stage.name!r}", {"seed": seed})


def _two_cycle(claims: Claims) -> Mapping[str, Array]:
    """signSGD without noise, from α/2 on λ = L = 1: x jumps between α/2 and −α/2, so ‖g‖₁ is dα/2 at every step."""
    total = COORDINATES * claims.setting.alpha / 2
    return {"gradient_one_norm": np.full(claims.setting.steps, total)}


def _sign_chain(claims: Claims) -> Mapping[str, Array]:
    """signSGD with normal noise: x is a Markov chain on the odd multiples of α/2, up with probability Φ(−x/σ)."""
    setting = claims.setting
    reach = np.arange(-setting.steps, setting.steps + 1)
    x = setting.alpha * (reach + 0.5)
    up = ndtr(-x)
    chance = np.where(reach == 0, 1.0, 0.0)
    metrics = {"gradient_one_norm": np.abs(x)}
    for name, norm in claims.measures.items():
        metrics[name] = norm({"x": np.repeat(x[:, None], COORDINATES, axis=1)}, {}, None, 0) / COORDINATES
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(setting.steps):
        for name, metric in metrics.items():
            values[name].append(COORDINATES * float(chance @ metric))
        rising, falling = chance * up, chance * (1 - up)
        chance = np.zeros_like(chance)
        chance[1:] += rising[:-1]
        chance[:-1] += falling[1:]
    return {name: np.cumsum(found) / np.arange(1, setting.steps + 1) for name, found in values.items()}


def _largest_first(claims: Claims) -> Mapping[str, Array]:
    """svd with nothing off the set, no noise, the Hessian the identity: the largest singular value of ∇f shrinks."""
    instance = claims.instance
    values = np.linalg.svd(instance.problem.gradient(instance.start)["W"], compute_uv=False)
    squares = np.empty(claims.setting.steps)
    for k in range(claims.setting.steps):
        squares[k] = float(np.sum(values**2))
        values = values * np.where(np.arange(len(values)) == np.argmax(values), 1 - claims.setting.alpha, 1.0)
    return {"squared_gradient_norm": np.cumsum(squares) / claims.setting.horizons}


def _hybrid(claims: Claims) -> Mapping[str, Array]:
    """SGDM on the set, by the exact engine, and the two-cycle of signSGD on the others."""
    experiment, alpha = claims.cell.experiment, claims.setting.alpha
    momentum = {"density": 1.0, "set": None}
    assert experiment.problem is not None
    inside = exact(
        experiment.model_copy(
            update={
                "algorithm": experiment.algorithm.model_copy(update=momentum),
                "problem": experiment.problem.model_copy(
                    update={"dimension": COORDINATES, "eigenvalues": (1.0,) * COORDINATES, "start": (0.1,) * COORDINATES}
                ),
                "noise": experiment.noise.model_copy(update={"sigma": 1.0}),
            }
        )
    ).mean
    signs = SIGNED * alpha / 2
    return {name: metric.phi * inside + metric.scale * signs for name, metric in claims.measures.items()}  # type: ignore[attr-defined]


def _only_path(claims: Claims) -> Mapping[str, Array]:
    """Where nothing is random: the metrics along the path of :func:`~frugal_theory.algorithm.step.step`."""
    instance, runs = claims.instance, claims.setting.runs
    x = {name: value[None] for name, value in instance.start.items()}
    state = init(np.zeros(1, dtype=np.int64))
    needed = [*claims.metrics, *claims.measures]
    metrics: dict[str, Metric] = {name: claims.measures.get(name) or REGISTERED[name] for name in needed}
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for k in range(claims.setting.steps):
        gradient = instance.problem.gradient(x)
        x, state = step(claims.setting.algorithm, x, gradient, state, claims.setting.alpha)
        for name, metric in metrics.items():
            values[name].append(float(metric(gradient, state.parts, runs, k)[0]))
    return {name: np.cumsum(found) / np.arange(1, claims.setting.steps + 1) for name, found in values.items()}


_HYBRID_STEP = 0.0625


def _adaptive(name: str, rule: str, keys: str, *, more: str = "", alpha: float = 0.02, **fields: Any) -> Stage:
    table = f'state_full = {{ rule = "{rule}", {keys} }}\n{more}'
    return Stage(name, alpha, 200, more=table, template=_ADAPTIVE, expected=_only_path, **fields)


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("SGD", 0.5, 60, density=0.0),
        Stage("SGD with weight decay", 0.5, 60, density=0.0, more="weight_decay = 0.25"),
        Stage("SGD from afar", 0.25, 100, density=0.0, start=10.0),
        Stage("SGDM, β = 0", 0.25, 120, beta=0.0, density=1.0),
        Stage("SGDM", 0.05, 300, density=1.0),
        Stage("SGD without noise", 0.5, 60, density=0.0, start=1.0, sigma=0.0),
        Stage("SGDM without noise", 0.05, 100, beta=0.9, density=1.0, start=1.0, sigma=0.0),
        Stage("sets redrawn at every step", 0.05, 300),
        Stage("sets held for 5 steps", 0.05, 300, gap=5),
        Stage("bases held for 5 steps", 0.05, 300, gap=5, subspace="random"),
        Stage("sets redrawn, from afar", 0.01, 600, beta=0.9, start=10.0),
        Stage(
            "svd of the gradient",
            0.25,
            60,
            beta=0.0,
            subspace="svd",
            free="none",
            sigma=0.0,
            problem='kind = "matrix"\nrows = 2\ncolumns = 3\ncondition = 1.0',
            expected=_largest_first,
        ),
        Stage("signSGD", 0.25, 200, density=0.0, free="signsgd", start=0.125, sigma=0.0, expected=_two_cycle),
        Stage("signSGD with noise", 0.02, 300, density=0.0, free="signsgd", start=0.01, trials=512, expected=_sign_chain),
        Stage(
            "hybrid",
            _HYBRID_STEP,
            300,
            free="signsgd",
            more=f"set = {list(range(COORDINATES))}",
            start=(0.1,) * COORDINATES + (_HYBRID_STEP / 2,) * SIGNED,
            sigma=(1.0,) * COORDINATES + (0.0,) * SIGNED,
            expected=_hybrid,
        ),
        _adaptive("Lion without noise", "lion", "betas = [0.5, 0.5]", density=1.0),
        _adaptive("Adagrad without noise", "adagrad", "eps = 1e-3", density=1.0, alpha=0.2),
        _adaptive("Adam without noise", "adamw", "betas = [0.0, 0.9]", density=1.0),
        _adaptive("Adam on a set without noise", "adamw", "betas = [0.0, 0.9]", more="set = [0, 1, 2, 3]\n", free="signsgd"),
    )
}

ENGINE: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("sets held for 5 steps", 0.05, 100, beta=0.9, gap=5, start=1.0, sigma=0.3),
        Stage(
            "blocks in turn",
            0.2,
            40,
            beta=0.9,
            gap=5,
            subspace="blocks",
            more='order = "ascending"',
            start=1.0,
            sigma=0.3,
            trials=512,
        ),
        Stage("SGD", 0.2, 60, density=0.0, start=1.0),
        Stage("sets held, near the optimum", 0.05, 200, beta=0.9, gap=5),
    )
}
"""Where faulty engines are run."""
