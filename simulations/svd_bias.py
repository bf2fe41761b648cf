"""What does svd selection do to the bias? A set chosen from the gradient it is applied to, against one that is not.

G is the gradient, G̃ = G + σZ with Gaussian Z a stochastic one, Π(G̃) the projector onto its k leading left singular vectors
(subspace svd), G̃' an independent sample at the same point. Π(G̃') has the law of Π(G̃) and is oblivious: premise P6 holds.
Everything else being equal, svd adds to the expected step the *bias* E Π(G̃)G̃ − E Π(G̃')G̃, which Stein's lemma makes ::

    σ² E Σ_{a ≤ k < b} (s_a u_a v_aᵀ + s_b u_b v_bᵀ) / (s_a² − s_b²)        G̃ = Σ s_i u_i v_iᵀ, a matrix no taller than wide

(from the derivative of Π(G̃) along u_b v_aᵀ and u_a v_bᵀ). Along G it is B‖G‖², B > 0: noise that helped to choose the set
comes along with it. Where noise is small, B is σ²/‖G‖² Σ (s_a² + s_b²)/(s_a² − s_b²) over the singular values of G; where
there is nothing but noise, Π(G̃)G̃ has the share c = E Σ_{a ≤ k} s_a² / E Σ s_i² of the noise's energy, more than the share
k/rows of any oblivious set, and, by Stein's lemma again, of G too: B = c − k/rows.

A set is held for T steps, and later gradients know nothing of it. The weight with which step t of a period is applied is
w_t = 1 − β^(T−t+1) on the set and s, the state-free ``lr_scale``, off it, so a period has the bias (w_1 − s)B of one step:
(1 − β^T)B without a state-free rule, −β^T B with SGD, which off the set would have applied the same noise at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.algorithm.rules import Sgdm, rule_of
from frugal_theory.algorithm.selection import budget, stream
from frugal_theory.algorithm.subspaces import choose_parts
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.identity import identity
from frugal_theory.config.registry import RULES as FAMILY
from frugal_theory.evidence.intervals import mean_interval
from frugal_theory.instance import starting_point
from frugal_theory.problems.matrix import Matrix
from frugal_theory.report.drawing import COLOURS
from frugal_theory.report.words import number, percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "answer", "draw", "measure"]

Array = NDArray[np.float64]

QUESTION = "What does svd selection do to the bias?"

WHOLE = True
"""All intervals share one error level, and a period of the longest T has the shorter ones in it."""

SIGNALS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""‖G‖²/E‖σZ‖², the energy of the gradient over that of the noise, of single choices."""

SIGNAL = 0.1
"""The same where periods are measured."""

SAMPLES = 16384
"""Of a single choice; a quarter as many periods."""

RULES: tuple[Literal["sgd", "none", "signsgd"], ...] = ("sgd", "none", "signsgd")
"""State-free rules of the periods; the floors are those of the first two, whose closed forms are known."""

NEVER = 10**9
"""An ``update_gap`` that keeps a set for the whole run."""


def captured(gradient: Array, sigma: float, k: int, samples: int, rng: np.random.Generator) -> dict[str, Array]:
    """What of G a set captures: samples of ⟨G, ΠG̃⟩/‖G‖² for the two sets, of Stein's B, and of the energy share c.

    "own" is that of Π(G̃)G̃; "copy" is ⟨G, Π(G̃)G⟩/‖G‖², whose expectation is that of Π(G̃')G̃.
    """
    square = float(np.sum(gradient**2))
    left, s, right = np.linalg.svd(gradient + sigma * rng.standard_normal((samples, *gradient.shape)), full_matrices=False)
    along = np.swapaxes(left, -1, -2) @ gradient  # u_aᵀG
    inner = s * np.sum(along * right, axis=-1)  # s_a u_aᵀG v_a
    gaps = 1 / (s[:, :k, None] ** 2 - s[:, None, k:] ** 2)
    stein = np.sum(gaps * (inner[:, :k, None] + inner[:, None, k:]), axis=(-2, -1))
    return {
        "own": inner[:, :k].sum(axis=-1) / square,
        "copy": np.sum(along[:, :k] ** 2, axis=(-2, -1)) / square,
        "stein": sigma**2 * stein / square,
        "energy": np.sum(s[:, :k] ** 2, axis=-1) / np.sum(s**2, axis=-1),
    }


def small_noise(gradient: Array, sigma: float, k: int) -> float:
    """B to first order in σ²."""
    s = np.linalg.svd(gradient, compute_uv=False) ** 2
    return float(sigma**2 / s.sum() * np.sum((s[:k, None] + s[None, k:]) / (s[:k, None] - s[None, k:])))


def state_chosen_from(algorithm: Algorithm, gradients: dict[str, Array], trials: NDArray[np.int64], period: int) -> ft.State:
    """The state at the start of a period, momentum zero, whose set was chosen from ``gradients`` (trials, …) and is kept."""
    shapes = {name: gradient.shape[1:] for name, gradient in gradients.items()}
    parts = choose_parts(algorithm, shapes, period, gradients, trials)
    rule = rule_of(algorithm.state_full)
    statistics = {name: rule.init(part.project(gradients[name])) for name, part in parts.items()}
    return ft.State(1, parts, statistics, trials)


def progress(algorithm: Algorithm, gradient: Array, sigma: float, steps: int, trials: int, seed: int, *, own: bool) -> Array:
    """⟨G, x¹ − xᵏ⁺¹⟩/(α‖G‖²) of periods of k = 1 … ``steps`` steps on the constant gradient G, shape (trials, steps)."""
    kept, numbers = algorithm.model_copy(update={"update_gap": NEVER}), np.arange(trials)
    rng, other = (np.random.default_rng(stream(seed, name)) for name in ("noise", "selection"))
    shape, found = (trials, *gradient.shape), np.empty((trials, steps))
    x, state = {"W": np.zeros(shape)}, ft.init(numbers)
    if not own:
        state = state_chosen_from(algorithm, {"W": gradient + sigma * other.standard_normal(shape)}, numbers, 0)
    for k in range(steps):
        x, state = ft.step(kept, x, {"W": gradient + sigma * rng.standard_normal(shape)}, state, 1.0)
        found[:, k] = -np.einsum("nij,ij->n", x["W"], gradient) / np.sum(gradient**2)
    return found


def floor(experiment: Experiment, alpha: float, *, own: bool) -> Array:
    """‖∇f‖² averaged over the second half of runs of T-step periods from the solution, shape (trials,)."""
    problem, noise, algorithm = ft.build_problem(experiment), ft.build_noise(experiment), experiment.algorithm
    assert isinstance(problem, Matrix)
    numbers, steps = np.arange(experiment.simulation.trials), experiment.simulation.steps
    rng, other = (np.random.default_rng(stream(experiment.seed, name)) for name in ("noise", "selection"))
    x = {name: np.repeat(layer.solution[None], len(numbers), axis=0) for name, layer in problem.layers.items()}
    kept, state, total = algorithm.model_copy(update={"update_gap": NEVER}), ft.init(numbers), np.zeros(len(numbers))
    for k in range(steps):
        gradient = problem.gradient(x)
        stochastic = noise.sample(rng, problem, x, gradient)
        if k % algorithm.update_gap == 0:
            look = stochastic if own else noise.sample(other, problem, x, gradient)
            state = state_chosen_from(algorithm, look, numbers, k // algorithm.update_gap)
        if k >= steps // 2:
            total += sum(np.sum(g**2, axis=(-2, -1)) for g in gradient.values())
        x, state = ft.step(kept, x, stochastic, state, alpha)
    return np.asarray(total / (steps - steps // 2))


def weights(beta: float, gap: int) -> Array:
    """w_t = 1 − β^(T−t+1), t = 1 … T."""
    return np.asarray(1 - beta ** np.arange(gap, 0, -1), dtype=np.float64)


def mean_step(beta: float, gap: int, scale: float, first: float, later: float) -> float:
    """avg_t s(1−c) + c w_t, what is applied of a gradient on average: c = ``first`` at the first step, ``later`` after it."""
    share = np.where(np.arange(gap) == 0, first, later)
    return float(np.mean(scale * (1 - share) + share * weights(beta, gap)))


def mean_energy(beta: float, gap: int, scale: float, first: float, later: float) -> float:
    """avg_t s²(1−c) + c w_t², what is applied of the noise's energy."""
    share = np.where(np.arange(gap) == 0, first, later)
    return float(np.mean(scale**2 * (1 - share) + share * weights(beta, gap) ** 2))


def measure(experiment: Experiment, run: Run = ALONE) -> pd.DataFrame:
    """Three parts: "choice" by signal, "period" by T and state-free rule, "floor" by T and state-free rule.

    The experiment has subspace svd on a matrix problem of one layer, sgdm on the set, and a sweep of T.

    ``quantity`` of a choice is "own", "copy" (shares of G) or "bias" (their difference B, ``closed_form`` by Stein's lemma,
    ``limit`` for small noise); of the others "own / copy − 1", the progress or the floor of svd over that of the oblivious
    copy; the closed form of the floor is that of small steps. Intervals cover all rows together with the experiment's
    confidence.
    """
    import pandas as pd

    gaps = [cell.experiment.algorithm.update_gap for cell in ft.cells(experiment)]
    level = 1 - (1 - experiment.verify.confidence) / (3 * len(SIGNALS) + (len(RULES) + 2) * len(gaps))
    (choices,) = run.kept({f"choices {identity(experiment)}": lambda: _choices(experiment, level)})
    at = choices[choices["signal"] == SIGNAL].set_index("quantity")
    share, stein = float(at.loc["copy", "measured"]), float(at.loc["bias", "closed_form"])
    periods = run.each(_periods, [(experiment, rule, tuple(gaps), share, stein, level) for rule in RULES])
    energy = float(choices["measured"].iloc[-1])
    floors = run.each(_floors, [(experiment, gap, energy, level) for gap in gaps])
    return pd.concat([choices.iloc[:-1], *periods, *floors], ignore_index=True)


def _facts(experiment: Experiment) -> tuple[Array, int, float]:
    """G at the start, no more rows than columns; k; and β."""
    algorithm, problem = experiment.algorithm, ft.build_problem(experiment)
    assert isinstance(problem, Matrix)
    assert isinstance(algorithm.state_full, Sgdm)
    gradient = problem.gradient(starting_point(problem, experiment.seed))["W"]
    rows, columns = problem.shapes["W"]
    gradient = gradient if rows <= columns else gradient.T
    return gradient, budget(algorithm.density, min(rows, columns)), algorithm.state_full.beta


def _choices(experiment: Experiment, level: float) -> pd.DataFrame:
    """Single choices by signal; in the last row what a set chosen from noise alone has of its energy."""
    import pandas as pd

    gradient, k, _ = _facts(experiment)
    found: list[dict[str, Any]] = []
    rng = np.random.default_rng(stream(experiment.seed, "noise"))
    for signal in SIGNALS:
        sigma = noise_of(gradient, signal)
        sampled = captured(gradient, sigma, k, SAMPLES, rng)
        bias = sampled["own"] - sampled["copy"]
        where = {"part": "choice", "signal": signal, "oblivious": k / min(gradient.shape)}
        extra = {"closed_form": sampled["stein"].mean(), "limit": small_noise(gradient, sigma, k)}
        found.append({**where, "quantity": "own", **_interval(sampled["own"], level)})
        found.append({**where, "quantity": "copy", **_interval(sampled["copy"], level)})
        found.append({**where, "quantity": "bias", **_interval(bias, level), **extra})
    energy = float(captured(np.full_like(gradient, 1e-9), 1.0, k, SAMPLES, rng)["energy"].mean())
    return pd.DataFrame([*found, {"part": "noise alone", "quantity": "energy", "measured": energy}])


def _periods(
    experiment: Experiment,
    rule: Literal["sgd", "none", "signsgd"],
    gaps: tuple[int, ...],
    share: float,
    stein: float,
    level: float,
) -> pd.DataFrame:
    """The progress of periods with one state-free rule."""
    import pandas as pd

    gradient, _, beta = _facts(experiment)
    one = experiment.algorithm.model_copy(update={"state_free": FAMILY[rule].table()})
    settings = (one, gradient, noise_of(gradient, SIGNAL), max(gaps), SAMPLES // 4, experiment.seed)
    own, copy = progress(*settings, own=True), progress(*settings, own=False)
    found: list[dict[str, Any]] = []
    for gap in gaps:
        closed = np.nan
        if rule != "signsgd":
            scale = float(rule == "sgd")
            closed = stein * (1 - beta**gap - scale) / gap / mean_step(beta, gap, scale, share, share)
        where = {"part": "period", "signal": SIGNAL, "state_free": rule, "update_gap": gap, "closed_form": closed}
        found.append({**where, "quantity": RATIO, **_ratio(own[:, gap - 1], copy[:, gap - 1], level)})
    return pd.DataFrame(found)


def _floors(experiment: Experiment, gap: int, energy: float, level: float) -> pd.DataFrame:
    """The floors of both state-free rules, α chosen for equal progress; the problem has condition 1 and settles soon."""
    import pandas as pd

    gradient, k, beta = _facts(experiment)
    share, found = k / min(gradient.shape), []
    assert experiment.problem is not None
    problem = experiment.problem.model_copy(update={"condition": 1.0})
    reference = float(experiment.algorithm.learning_rate) * mean_step(beta, gap, 1.0, share, share)  # type: ignore[arg-type]
    for rule in RULES[:2]:
        scale = float(rule == "sgd")
        update = {"update_gap": gap, "state_free": FAMILY[rule].table()}
        one = experiment.model_copy(update={"problem": problem, "algorithm": experiment.algorithm.model_copy(update=update)})
        alpha = reference / mean_step(beta, gap, scale, share, share)
        own, copy = (
            mean_energy(beta, gap, scale, first, share) / mean_step(beta, gap, scale, first, share) for first in (energy, share)
        )
        ratio = _ratio(floor(one, alpha, own=True), floor(one, alpha, own=False), level)
        where = {"part": "floor", "state_free": rule, "update_gap": gap, "quantity": RATIO, "closed_form": own / copy - 1}
        found.append({**where, **ratio})
    return pd.DataFrame(found)


RATIO = "own / copy − 1"


def noise_of(gradient: Array, signal: float) -> float:
    """σ with ‖G‖² = signal · E‖σZ‖²."""
    return float(np.linalg.norm(gradient) / np.sqrt(gradient.size * signal))


def _interval(samples: Array, level: float) -> dict[str, float]:
    mean, deviation = np.array([samples.mean()]), np.array([samples.std(ddof=1)])
    lower, upper = mean_interval(mean, deviation, None, len(samples), level)
    return {"measured": float(mean[0]), "lower": float(lower[0]), "upper": float(upper[0])}


def _ratio(own: Array, copy: Array, level: float) -> dict[str, float]:
    """E own / E copy − 1 of paired samples, its error to first order."""
    ratio = float(own.mean() / copy.mean())
    found = _interval((own - ratio * copy) / copy.mean(), level)
    return {key: value + ratio - 1 for key, value in found.items()}


NAMES = {"sgd": "SGD off the set", "none": "nothing off the set", "signsgd": "signSGD off the set"}
COLOUR = {"sgd": "hue-1", "none": "hue-2", "signsgd": "hue-3"}


def draw(table: pd.DataFrame) -> Any:
    """The share of the gradient that a choice captures; the bias of a period's progress; that of the floor."""
    figure, (choice, period, level) = panels(
        "svd selection takes the noise that chose the set along with it; over many steps with one set this vanishes",
        [
            "share of the gradient that the set captures",
            f"progress of a period, svd / copy − 1, S/N = {SIGNAL:g}",
            "floor of E‖∇f‖², svd / copy − 1",
        ],
        "copy: a set chosen in the same way from an independent sample. Marks: measured, intervals cover all together; "
        "lines: closed forms, for small steps on the right.",
        gap=62,
    )
    rows = table[table["part"] == "choice"]
    own, copy, bias = (rows[rows["quantity"] == name].sort_values("signal") for name in ("own", "copy", "bias"))
    x, oblivious = own["signal"].to_numpy(), float(own["oblivious"].iloc[0])
    stein = copy["measured"].to_numpy() + bias["closed_form"].to_numpy()
    small = np.where(bias["limit"] < bias["measured"].max() / 2, copy["measured"].to_numpy() + bias["limit"], np.nan)
    choice.fill_between(x, copy["measured"], stein, color=COLOURS["hue-1"], alpha=0.10, lw=0)
    choice.plot(x, stein, color=COLOURS["hue-1"], lw=1.6, label="svd, Stein's lemma")
    choice.plot(x, small, color=COLOURS["ink"], lw=1.2, ls=":", label="svd, small noise")
    choice.plot(x, copy["measured"], color=COLOURS["hue-4"], lw=1.6, ls="--", label="copy")
    choice.axhline(oblivious, color=COLOURS["quiet"], lw=1.2, label="random, columns")
    _marks(choice, own, "signal", "hue-1")
    _marks(choice, copy, "signal", "hue-4")
    choice.set(xscale="log", ylim=(0, 1.18), xlabel="energy of the gradient / of the noise, S/N")
    choice.set_xticks(x[::2], [number(signal) for signal in x[::2]])
    choice.set_yticks(np.linspace(0, 1, 6))
    choice.minorticks_off()
    choice.legend(frameon=False, fontsize=9, loc="upper left", ncols=2, handlelength=1.6, columnspacing=1.2)
    for axes, part in ((period, "period"), (level, "floor")):
        axes.axhline(0, color=COLOURS["quiet"], lw=1)
        for rule, found in table[table["part"] == part].groupby("state_free", sort=False):
            rows = found.sort_values("update_gap")
            line = "closed_form" if rows["closed_form"].notna().all() else "measured"
            colour = COLOURS[COLOUR[rule]]
            axes.plot(rows["update_gap"], rows[line], color=colour, lw=1.6 if line == "closed_form" else 0.7, label=NAMES[rule])
            _marks(axes, rows, "update_gap", COLOUR[rule])
        gaps = sorted(set(table["update_gap"].dropna().astype(int)))
        axes.set(xscale="log", xlabel="steps between two choices, T")
        axes.set_xticks(gaps, [str(gap) for gap in gaps])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: percent(value).replace("-", "−") if value else "0")
        axes.legend(frameon=False, fontsize=9.5, loc="upper right")
    return figure


def _marks(axes: Any, rows: pd.DataFrame, x: str, colour: str) -> None:
    error = [rows["measured"] - rows["lower"], rows["upper"] - rows["measured"]]
    looks = {"fmt": "o", "markersize": 4.5, "elinewidth": 1.2, "zorder": 4}
    axes.errorbar(rows[x], rows["measured"], yerr=error, color=COLOURS[colour], **looks)


def answer(table: pd.DataFrame) -> Answer:
    """The shares captured, and by how much progress and floor are off at the smallest, a middle and the largest T."""
    choice = table[(table["part"] == "choice") & (table["signal"] == SIGNAL)].set_index("quantity")
    gaps = sorted(set(table["update_gap"].dropna().astype(int)))
    chosen = list(dict.fromkeys([gaps[0], gaps[len(gaps) // 2], gaps[-1]]))

    def off(part: str, rule: str, gap: int) -> str:
        rows = table[(table["part"] == part) & (table["state_free"] == rule) & (table["update_gap"] == gap)]
        value, lower, upper = (float(rows[column].iloc[0]) for column in ("measured", "lower", "upper"))
        if lower <= 0 <= upper:
            return f"0 ± {percent(max(-lower, upper))}"
        return f"{'+' if value > 0 else ''}{percent(value)}"

    judged = table[(table["part"] != "floor") & table["closed_form"].notna()]
    inside = (judged["lower"] <= judged["closed_form"]) & (judged["closed_form"] <= judged["upper"])
    periods = table[table["part"] == "period"]
    biased = ((periods["lower"] > 0) | (periods["upper"] < 0)).any()
    sentence = (
        f"It brings along the noise that chose the set: at S/N = {SIGNAL:g} the set captures "
        f"{percent(choice.loc['own', 'measured'])} of the gradient, one chosen from an independent sample "
        f"{percent(choice.loc['copy', 'measured'])}, a random one {percent(choice.loc['own', 'oblivious'])}, and the progress "
        f"of a period is off by {', '.join(off('period', 'sgd', gap) for gap in chosen)} with SGD off the set and by "
        f"{', '.join(off('period', 'none', gap) for gap in chosen)} with nothing off it for T = "
        f"{', '.join(str(gap) for gap in chosen)} (Stein's lemma predicts it within the interval in {int(inside.sum())} of "
        f"{len(judged)} cases); the floor of E‖∇f‖² is off by {', '.join(off('floor', 'sgd', gap) for gap in chosen)} and "
        f"{', '.join(off('floor', 'none', gap) for gap in chosen)}."
    )
    return Answer(sentence, "yes" if biased else "open")
