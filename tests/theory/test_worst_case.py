"""The worst case: known values, an independent model (PEPit), invariances, and what counts as solved."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.subspaces import Mask
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.evidence.worst_case import programs as module
from frugal_theory.evidence.worst_case.programs import Answer, WorstValue, horizons, worst_values
from frugal_theory.evidence.worst_case.sdp import displacements, interpolation, solve
from tests.tolerances import ENUMERATION, SOLVERS_AGREE

pytest.importorskip("cvxpy", reason='needs the extra "worst-case"')

BETA = 0.9
ALPHA = (1 - BETA) / (4 - BETA + BETA**2)

KNOWN = {"nothing": {5: 1.80796, 10: 1.60163, 20: 1.27779}, "everything": {5: 1.96245, 10: 1.8664, 20: 1.60266}}


def members(kind: str, steps: int) -> Any:
    both = np.array([[True] * steps, [False] * steps])
    return {"nothing": both[1:], "everything": both[:1], "both": both}[kind]


@pytest.mark.parametrize("steps", [5, 10, 20])
@pytest.mark.parametrize("kind", ["nothing", "everything", "both"])
@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_known_values(kind: str, steps: int, solver: str) -> None:
    """Theory, section 7; a plain block beside the momentum block changes nothing."""
    value, status = solve(members(kind, steps), updates(ALPHA, BETA), solver)
    assert status == "optimal"
    assert value == pytest.approx(KNOWN["everything" if kind == "both" else kind][steps], rel=SOLVERS_AGREE)


@pytest.mark.ecosystem
def test_two_solvers_in_two_processes() -> None:
    (worst,) = worst_values([members("both", 5)], ALPHA, BETA)
    assert worst.status == "solved"
    assert [answer.solver for answer in worst.answers] == ["CLARABEL", "SCS"]
    assert worst.value == pytest.approx(KNOWN["everything"][5], rel=SOLVERS_AGREE)
    assert worst.range[0] <= worst.value <= worst.range[1]


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_gradient_descent_with_the_step_one_over_l(steps: int, solver: str) -> None:
    """Exactly 2L/N."""
    value, status = solve(members("nothing", steps), updates(1.0, BETA), solver)
    assert status == "optimal"
    assert value == pytest.approx(2 / steps, rel=SOLVERS_AGREE)


@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
@pytest.mark.parametrize("lr_scale", [0.0, 0.5])
def test_pepit_agrees(reading: Any, lr_scale: float) -> None:
    """The same worst case by PEPit's own model: one Gram matrix, and a block partition of it. Sets that change, weights too."""
    pytest.importorskip("PEPit", reason='needs the extra "worst-case"')
    inside = np.array([[True, True, False, True], [False, True, True, False]])
    alpha, beta = 0.4, 0.7
    weights = np.ones((2, 4)) if lr_scale == 0 else np.array([[1.0, 0.2, 0.7, 0.4], [0.3, 1.0, 0.1, 0.9]])
    found, status = solve(inside, updates(alpha, beta, lr_scale, reading), "CLARABEL", weights)
    assert status == "optimal"
    assert found == pytest.approx(_pepit(inside, weights, alpha, beta, lr_scale, reading), rel=SOLVERS_AGREE)


def _pepit(inside: Any, weights: Any, alpha: float, beta: float, lr_scale: float, reading: str) -> float:
    import cvxpy
    from PEPit import PEP, Expression
    from PEPit.functions import SmoothFunction
    from PEPit.point import null_point

    blocks, steps = inside.shape
    program = PEP()
    f = program.declare_function(SmoothFunction, L=1.0)
    partition = program.declare_block_partition(d=blocks)
    infimum = Expression()
    x, total = program.set_initial_point(), 0
    momentum = [null_point] * blocks
    for k in range(steps):
        gradient, value = f.oracle(x)
        if k == 0:
            program.set_initial_condition(value - infimum <= 1)
        program.add_constraint(value - infimum >= gradient**2 / 2)
        for b in range(blocks):
            part = partition.get_block(gradient, b)
            total = total + weights[b, k] * part**2
            if inside[b, k]:
                momentum[b] = beta * momentum[b] + (1 - beta) * part
                x = x - alpha * momentum[b]
            else:
                momentum[b] = {"reset": 0.0, "decay": beta, "hold": 1.0}[reading] * momentum[b]
                x = x - alpha * lr_scale * part
    program.set_performance_metric(total / steps)
    value = program.solve(verbose=0, solver=cvxpy.CLARABEL, return_primal_or_dual="primal")
    assert program.wrapper.prob.status == "optimal"
    return float(value)


@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
def test_displacements_are_those_of_the_algorithm(reading: Any) -> None:
    rng = np.random.default_rng(0)
    inside, gradients = rng.random(7) < 0.5, rng.normal(size=(7, 1))
    algorithm = ft.Algorithm.model_validate(
        {
            "learning_rate": 0.3,
            "subspace": "blocks",
            "state_full": {"rule": "sgdm", "beta": 0.8},
            "state_free": {"rule": "sgd", "lr_scale": 0.6},
            "off_set_momentum": reading,
        }
    )
    x, points = {"x": np.zeros(1)}, []
    state = ft.State(step=1, statistics={"x": {"momentum": np.zeros(1)}})
    for k in range(7):
        points.append(x["x"])
        state = ft.State(1, {"x": Mask(inside[k : k + 1])}, state.statistics)
        x, state = ft.step(algorithm, x, {"x": gradients[k]}, state)
    found = displacements(inside, updates(0.3, 0.8, 0.6, reading)) @ gradients
    assert found == pytest.approx(np.array(points), rel=ENUMERATION, abs=ENUMERATION)


def test_quadratics_satisfy_the_interpolation_conditions() -> None:
    """Necessary for every 1-smooth function, also a concave one; tight for f = ½x² and for f = −½x²."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5, 5))
    for curvature in (1.0, -1.0, 0.3):
        values = curvature * np.sum(points**2, axis=1) / 2
        gram = curvature**2 * points @ points.T
        sides = interpolation(np.eye(5) / curvature) @ gram.ravel()  # x = g / curvature
        slack = np.array([values[i] - values[j] for i in range(5) for j in range(5) if i != j]) - sides
        assert slack.min() >= -ENUMERATION
        if abs(curvature) == 1:
            assert slack == pytest.approx(np.zeros(20), abs=ENUMERATION)


def test_only_two_optimal_answers_that_agree_are_a_value() -> None:
    def worst(*answers: tuple[float, str]) -> WorstValue:
        return WorstValue(tuple(Answer(f"solver {i}", *answer) for i, answer in enumerate(answers)))

    assert worst((1.6027, "optimal"), (1.6028, "optimal")).status == "solved"
    for answers in (
        ((3.634, "optimal"), (1.6027, "optimal")),
        ((1.6027, "optimal_inaccurate"), (1.6027, "optimal")),
        ((1.6027, "optimal"), (float("nan"), "failed: a solver's own words")),
    ):
        assert worst(*answers).status == "unsolved"
        assert np.isnan(worst(*answers).value)


@pytest.mark.ecosystem
def test_a_failure_does_not_poison_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program has a process of its own: one that does not answer, or is nonsense, leaves the others alone."""
    late = worst_values([members("both", 3)], ALPHA, BETA, timeout=1e-3)[0]
    assert late.status == "unsolved"
    assert "no answer" in late.answers[0].status
    ok = members("nothing", 2)
    found = worst_values([np.zeros((0, 3), dtype=bool), ok], 1.0, BETA)
    assert [worst.status for worst in found] == ["unsolved", "solved"]
    assert found[0].answers[0].status.startswith("failed")
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    assert worst_values([ok], 1.0, BETA)[0].answers[0].status == "the process ended with status 1"


def test_an_interruption_begins_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def interrupted(task: dict[str, Any], _timeout: float) -> Answer:
        begun.append(task)
        if len(begun) > 1:
            time.sleep(0.05)  # as a program does that takes its time; the interruption has to get through meanwhile
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        worst_values([members("both", 2)] * 500, ALPHA, BETA, jobs=1)
    assert len(begun) < 100


@pytest.mark.usefixtures("solve_in_process")
def test_evidence_scales_with_l_and_the_gap(quadratic: Any) -> None:
    """L·Δ times the value for αL; above what the quadratic itself does; one horizon a program."""
    settings = {
        "noise": {"kind": "none"},
        "simulation.steps": 3,
        "problem": {"kind": "quadratic", "eigenvalues": [4.0, 2.0], "start": [1.0, -2.0]},
        "algorithm.set": [0],
        "algorithm.learning_rate": ALPHA / 4,
    }
    experiment = quadratic(settings)
    worst = ft.worst_case(experiment)
    gap = 0.5 * (4 * 1 + 2 * 4)
    unit = [solve(members("both", k), updates(ALPHA, BETA), "CLARABEL")[0] for k in (1, 2, 3)]
    assert worst.source == "worst_case"
    assert worst.steps.tolist() == [1, 2, 3]
    assert worst.mean == pytest.approx([4 * gap * value for value in unit], rel=SOLVERS_AGREE)
    assert worst.mean[0] == pytest.approx(2 * 4 * gap, rel=SOLVERS_AGREE)
    assert np.all(worst.lower <= worst.mean)
    assert np.all(worst.mean <= worst.upper)
    assert np.all(ft.exact(experiment).mean <= worst.upper)


@pytest.mark.usefixtures("solve_in_process")
def test_the_weighted_norm(quadratic: Any) -> None:
    """Blocks in turn, T = 2: W = 1 − β², 1 − β in the set, 1 off it. One step is a closed form; fixed sets have W = 1."""
    turn = {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "algorithm.update_gap": 2, "simulation.steps": 3}
    common = {"noise": {"kind": "none"}, "problem": {"kind": "quadratic", "dimension": 2, "blocks": 2, "start": "ones"}}
    experiment = quadratic(common | turn)
    weights = np.array([[1, 1, 0.19], [0.19, 0.1, 1]])
    inside = np.array([[False, False, True], [True, True, False]])
    members, kept = module._blocks("test", experiment.algorithm, *_shapes_and_runs(experiment), 3, module.METRICS[1])
    assert members.tolist() == inside.tolist()
    assert kept == pytest.approx(weights, rel=ENUMERATION)
    plain, weighted = (ft.worst_case(experiment, metric=metric) for metric in module.METRICS)
    gap = 0.5 * (1 + 1 / 2)
    assert weighted.metric == module.METRICS[1]
    assert weighted.mean[0] == pytest.approx(2 * gap, rel=SOLVERS_AGREE)  # all of ‖g¹‖² = 2LΔ in the block with W = 1
    assert np.all(weighted.mean[1:] < plain.mean[1:])
    assert np.all(ft.exact(experiment, metric=module.METRICS[1]).mean <= weighted.upper)
    fixed = quadratic(common | {"simulation.steps": 3, "algorithm.set": [0]})
    plain, weighted = (ft.worst_case(fixed, metric=metric) for metric in module.METRICS)
    assert weighted.mean == pytest.approx(plain.mean, rel=ENUMERATION)


def _shapes_and_runs(experiment: ft.Experiment) -> Any:
    setting = ft.setting_of(experiment)
    return setting.problem.shapes, setting.runs


def test_the_weighted_norm_under_random_sets_is_refused(quadratic: Any) -> None:
    experiment = quadratic({"noise": {"kind": "none"}, "simulation.steps": 2})
    with pytest.raises(ft.ExperimentError, match="averages over sets drawn at random"):
        ft.worst_case(experiment, metric=module.METRICS[1])
    with pytest.raises(ValueError, match="unknown metric"):
        ft.worst_case(experiment, metric="colour")


def test_unsolved_horizons_are_shown(quadratic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = (Answer("CLARABEL", 3.634, "optimal"), Answer("SCS", 1.6027, "optimal"))
    monkeypatch.setattr(module, "worst_values", lambda members, *_, **__: [WorstValue(answers)] * len(members))
    worst = ft.worst_case(quadratic({"noise": {"kind": "none"}, "simulation.steps": 2, "algorithm.density": 1.0}))
    assert np.isnan(worst.mean).all()
    assert "k = 2: unsolved, for L = Δ = 1: CLARABEL gives 3.634 (optimal), SCS gives 1.6027 (optimal)" in worst.notes


@pytest.mark.usefixtures("solve_in_process")
def test_blocks_on_a_schedule_and_random_sets(quadratic: Any) -> None:
    """The sets that the algorithm itself draws, one block for every history."""
    base = {"noise": {"kind": "none"}, "algorithm.learning_rate": 1.0}
    cyclic = {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "problem.blocks": 2, "algorithm.update_gap": 2}
    experiment = quadratic({**base, **cyclic, "simulation.steps": 3})
    worst = ft.worst_case(experiment)
    inside = np.array([[True, True, False], [False, False, True]])
    problem = ft.build_problem(experiment)
    gap = problem.value(problem.start(np.random.default_rng(stream(7, "start"))))
    unit = [solve(inside[:, :k], updates(1.0, BETA), "CLARABEL")[0] for k in (1, 2, 3)]
    assert worst.mean == pytest.approx([gap * value for value in unit], rel=SOLVERS_AGREE)
    assert not any("trial 0" in note for note in worst.notes)
    drawn = ft.worst_case(quadratic({**base, "problem.dimension": 3, "simulation.steps": 1}))
    assert any("trial 0" in note for note in drawn.notes)


def test_horizons() -> None:
    assert horizons(8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert horizons(12) == [1, 2, 5, 10, 12]
    assert horizons(20) == [1, 2, 5, 10, 15, 20]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"noise": {"kind": "gaussian"}}, '"none" is allowed'),
        ({"simulation.steps": 21}, "at most 20 steps"),
        ({"algorithm.weight_decay": 0.1}, "for 0 only"),
        ({"algorithm.state_full": "adamw"}, '"sgdm" is allowed'),
        ({"algorithm.subspace": "random"}, "made of coordinates"),
        ({"algorithm.update_gap": 1}, "at most 4 blocks"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], says: str, quadratic: Any) -> None:
    with pytest.raises(ft.ExperimentError, match="test: ") as caught:
        ft.worst_case(quadratic({"noise": {"kind": "none"}, "simulation.steps": 10, **changes}))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_extra_is_named(quadratic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ft.ExperimentError, match=r'pip install "frugal-lab\[worst-case\]"'):
        ft.worst_case(quadratic({"noise": {"kind": "none"}, "simulation.steps": 2}))
