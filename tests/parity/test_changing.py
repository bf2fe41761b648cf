"""density_schedule: the same in the NumPy engine, in ``ft.optimizer`` and in the three ways to step; what theory says of it."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.schedules import schedule_of
from frugal_theory.algorithm.schedules import density_at
from frugal_theory.config.algorithm import Algorithm
from tests.parity.problem import Model, assert_same_path, driven, loss, numpy_path
from tests.tolerances import FACTORISATION

SHAPES = {"x": (7,), "W": (6, 5), "V": (4, 8), "S": (9, 9)}
PROBLEM = driven(23, shapes=SHAPES)
TABLE = {"learning_rate": 0.03, "update_gap": 4, "seed": 2, "density": 0.8, "density_schedule": {"to": 0.2, "steps": 18}}


def algorithm(**keys: object) -> Algorithm:
    return ft.parse({"name": "one", "algorithm": {**TABLE, **keys}}).algorithm


def torch_path(chosen: Algorithm, backend: str):
    model = Model(PROBLEM)
    optimizer = Frugal.from_config(model, chosen, backend=backend)
    schedule = schedule_of(chosen, optimizer)
    path, densities = [model.arrays()], []
    for k in range(PROBLEM.steps):
        optimizer.zero_grad()
        loss(PROBLEM, [model], k).backward()
        schedule.step()
        optimizer.step()
        densities.append(schedule.shown()["density"])
        path.append(model.arrays())
    return path, densities


KINDS = [
    *({"subspace": s} for s in ("columns", "randk", "coordinates", "blocks")),
    *({"subspace": s, "off_set_momentum": "decay"} for s in ("columns", "randk", "coordinates", "blocks")),
    *({"subspace": s, "on_update": u} for s in ("svd", "random") for u in ("reset", "keep", "project")),
    {"subspace": "rows", "off_set_momentum": "hold"},
    {"subspace": "blocks", "order": "descending"},
    {"subspace": "svd", "density": 0.3, "density_schedule": {"to": 0.9, "steps": 12}, "on_update": "keep"},
    {"subspace": "columns", "density_schedule": {"to": 0.0, "steps": 12}},
]


@pytest.mark.parametrize("backend", ["foreach", "formula"])
@pytest.mark.parametrize("keys", KINDS, ids=str)
def test_the_engines_agree(keys, backend):
    chosen = algorithm(state_full="adamw" if keys["subspace"] != "rows" else "sgdm", weight_decay=0.1, **keys)
    path, densities = torch_path(chosen, backend)
    assert_same_path(path, numpy_path(chosen, PROBLEM), FACTORISATION)
    line = chosen.density_schedule
    assert densities == [density_at(k - k % 4, chosen.density, line.to, line.steps) for k in range(PROBLEM.steps)]


@pytest.mark.parametrize("keys", KINDS[::2], ids=str)
def test_the_rule_is_the_step(keys):
    chosen = algorithm(**keys)
    rule = ft.optimizer(chosen)
    x = y = PROBLEM.start
    state, own = None, rule.init(x)
    for k in range(PROBLEM.steps):
        x, state = ft.step(chosen, x, PROBLEM.gradient(x, k), state)
        u, own = rule.update(own, PROBLEM.gradient(y, k))
        y = {name: value - 0.03 * u[name] for name, value in y.items()}
        for name in x:
            np.testing.assert_allclose(x[name], y[name], rtol=FACTORISATION, atol=FACTORISATION)


def test_a_fixed_density_is_another_path():
    """The schedule is not merely accepted."""
    fixed = algorithm(subspace="columns").model_copy(update={"density_schedule": None})
    one, other = (numpy_path(chosen, PROBLEM)[-1]["W"] for chosen in (algorithm(subspace="columns"), fixed))
    assert np.abs(one - other).max() > 1e-3


THEORY = {
    "problem": {"kind": "quadratic", "dimension": 6},
    "simulation": {"steps": 12, "trials": 4},
    "verify": {"theorems": ["sgd", "run_length", "theorem_5_2", "svd_selection", "orthogonal_subspaces"]},
}
SGDM = {"state_full": "sgdm", "state_free": "sgd", "subspace": "coordinates"}


def test_no_theorem_speaks_of_a_density_that_changes():
    experiment = ft.parse({"name": "t", "algorithm": {**TABLE, **SGDM}, **THEORY})
    for verdict in ft.verify(experiment):
        assert verdict.status == "not applicable"
        assert "density goes from 0.8 to 0.2 in 18 steps (density_schedule)" in verdict.reason
    with pytest.raises(ft.ExperimentError, match="density_schedule"):
        ft.exact(experiment)
    plain = ft.parse({"name": "t", "algorithm": {**TABLE, **SGDM, "density_schedule": None}, **THEORY})
    assert (ft.simulate(experiment).mean != ft.simulate(plain).mean).any()


def test_a_problem_has_no_evaluations_to_change_t_by():
    experiment = ft.parse({"name": "t", "algorithm": {**SGDM, "update_gap_schedule": {}}, **THEORY})
    for ask in (ft.simulate, ft.verify):
        with pytest.raises(ft.ExperimentError, match=r"algorithm.update_gap_schedule lets evaluations of a training change T"):
            ask(experiment)
    with pytest.raises(ValueError, match="update_gap_schedule"):
        ft.optimizer(experiment.algorithm)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rank": 3, "density": None, "subspace": "svd"}, "rank and density_schedule are both given"),
        ({"set": [0], "subspace": "coordinates"}, "set and density_schedule are both given"),
        ({"subspace": "svd", "refresh": "staggered"}, r'refresh is "staggered"; "together" is allowed'),
        ({"density": 1.0}, r"density is 1 and density_schedule is given; 0 < density < 1 is allowed"),
        ({"groups": [{"pattern": "q", "density": 0.5}]}, r"groups\[0\].density and density_schedule are both given"),
        ({"off_set_momentum": "hold"}, r'what off_set_momentum = "hold" keeps of them; "reset", "decay" are allowed'),
        ({"update_gap": 2000, "update_gap_schedule": {}}, r"update_gap is 2000, update_gap_schedule.most is 1000"),
        ({"density_schedule": {"to": 1.5, "steps": 3}}, "density_schedule.to"),
        ({"system": "galore"}, r'density_schedule = .*: system = "galore" does not take it'),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_one_line(keys, words):
    table = {key: value for key, value in {**TABLE, **keys}.items() if value is not None}
    with pytest.raises(ft.ExperimentError, match=words) as error:
        ft.parse({"name": "one", "algorithm": table})
    assert len(str(error.value).splitlines()) == 1
