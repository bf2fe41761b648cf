"""Adding from outside: what is refused, in which words; nothing stays; other processes know too."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm.rules import Lion, Sgdm
from frugal_theory.algorithm.subspaces import Drawn, Scheduled
from frugal_theory.config import GaussianNoise, Part, Quadratic
from frugal_theory.config.load import cells, dump, parse
from frugal_theory.config.registry import SUBSPACES, carry, extended
from frugal_theory.evidence.exact.expectations import exact
from frugal_theory.instance import instance_of, setting_of
from frugal_theory.premises import check_premises
from frugal_theory.problems import Gaussian

HEAD = 'name = "demo"\n'


class Signed(Part):
    rule: Literal["signed"] = "signed"
    decay: float = 0.5


class Loud(Part):
    kind: Literal["loud"] = "loud"
    sigma: float = 0.2


class Nesterov(Sgdm):
    rule: Literal["nesterov"] = "nesterov"  # type: ignore[assignment]


class Steep(Quadratic):
    kind: Literal["steep"] = "steep"  # type: ignore[assignment]


class Louder(GaussianNoise):
    kind: Literal["louder"] = "louder"  # type: ignore[assignment]


class SgdmAgain(Part):
    rule: Literal["sgdm"] = "sgdm"


class Anonymous(Part):
    rule: str = "anonymous"


class Plain(Part):
    kind: Literal["plain"] = "plain"


def even(period: int, shape: tuple[int, ...], density: float) -> np.ndarray:  # noqa: ARG001
    return (np.arange(int(np.prod(shape))) % 2 == period % 2).reshape(shape)


@pytest.fixture(autouse=True)
def _undone():
    before = tuple(SUBSPACES), ft.Algorithm.model_json_schema(), ft.Experiment.model_json_schema()
    with ft.extended():
        yield
    assert before == (tuple(SUBSPACES), ft.Algorithm.model_json_schema(), ft.Experiment.model_json_schema())


REFUSED = {
    "rule": (lambda: ft.add_rule(SgdmAgain, Lion), '"sgdm" exists already; taken are "sgdm", "adamw"'),
    "subspace": (lambda: ft.add_subspace("svd", Scheduled(even)), '"svd" exists already'),
    "problem": (lambda: ft.add_problem(type("P", (Part,), {**table("kind", "quadratic")}), None), '"quadratic" exists already'),
    "noise": (lambda: ft.add_noise(type("N", (Part,), {**table("kind", "none")}), None), '"none" exists already'),
    "theorem": (lambda: ft.add_theorem(ft.THEOREMS["sgd"]), '"sgd" exists already'),
    "no name": (lambda: ft.add_rule(Anonymous, Lion), 'Anonymous needs the field rule: Literal["name"] = "name"'),
    "no such field": (lambda: ft.add_noise(Signed, Gaussian), 'Signed needs the field kind: Literal["name"] = "name"'),
    "a rule that theorems would take for SGDM": (lambda: ft.add_rule(Nesterov, Lion), "Nesterov derives from Sgdm"),
    "a problem": (lambda: ft.add_problem(Steep, None), "Steep derives from Quadratic"),
    "a noise": (lambda: ft.add_noise(Louder, None), "Louder derives from GaussianNoise"),
}


def table(tag: str, name: str) -> dict[str, object]:
    return {"__annotations__": {tag: Literal[name]}, tag: name, "__module__": __name__}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    add, words = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(words)):
        add()


def test_nothing_can_be_added_twice():
    ft.add_noise(Loud, lambda table: Gaussian(table.sigma))
    with pytest.raises(ValueError, match='"loud" exists already'):
        ft.add_noise(Loud, lambda table: Gaussian(table.sigma))


WORDS = {
    '[algorithm]\nstate_full = "sigend"': 'algorithm.state_full.rule = "sigend": did you mean "signed"? allowed: "sgdm"',
    '[algorithm]\nstate_full = { rule = "signed", decy = 1.0 }': 'decy: unknown key; did you mean "decay"? allowed here: decay',
    '[algorithm]\nstate_full = { rule = "signed", decay = "no" }': 'algorithm.state_full.decay = "no": allowed: a number',
    '[algorithm]\nsubspace = "evn"': 'algorithm.subspace = "evn": did you mean "even"?',
    '[noise]\nkind = "lod"': 'noise.kind = "lod": did you mean "loud"?',
    '[noise]\nkind = "loud"\nsigma = true': "noise.sigma = True: allowed: a number",
    '[algorithm]\nsubspace = "random"\noff_set_momentum = "hold"': '"randk", "even" are allowed',
}


@pytest.mark.parametrize("text", WORDS)
def test_error_lines_know_what_was_added(text):
    ft.add_rule(Signed, lambda _: Lion())
    ft.add_subspace("even", Scheduled(even))
    ft.add_noise(Loud, lambda table: Gaussian(table.sigma))
    with pytest.raises(ft.ExperimentError) as caught:
        parse(HEAD + text)
    assert WORDS[text] in str(caught.value)


def test_experiments_are_dumped_swept_and_set_like_others():
    ft.add_rule(Signed, lambda _: Lion())
    text = HEAD + '[algorithm]\nstate_full = "signed"\n[sweep]\n"algorithm.state_full.decay" = [0.1, 0.2]'
    experiment = parse(text, overrides={"algorithm.state_full.decay": 0.3})
    assert experiment.algorithm.state_full == Signed(decay=0.3)
    assert parse(dump(experiment)) == experiment
    assert [cell.experiment.algorithm.state_full.decay for cell in cells(experiment)] == [0.3]
    assert [cell.experiment.algorithm.state_full.decay for cell in cells(parse(text))] == [0.1, 0.2]


def test_blocks_nest_and_the_inner_one_undoes_its_own():
    ft.add_subspace("even", Scheduled(even))
    with ft.extended():
        ft.add_subspace("odd", Scheduled(lambda period, shape, density: even(period + 1, shape, density)))
        assert tuple(SUBSPACES)[-2:] == ("even", "odd")
    assert tuple(SUBSPACES)[-1] == "even"


def test_a_rule_without_an_accelerator_runs_by_its_formula():
    import torch

    from frugal_gpu import Frugal
    from frugal_gpu.optim.backends import accelerated

    ft.add_rule(Signed, lambda table: Lion(betas=(table.decay, table.decay)))
    x = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    x.grad = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    Frugal([x], lr=0.1, density=1.0, state_full="signed").step()
    np.testing.assert_allclose(x.detach().numpy(), [0.9, 1.1, 1.0])
    assert accelerated(Lion()) is not None


def test_other_processes_know_what_was_added(quadratic):
    ft.add_subspace("even", Scheduled(even))
    ft.add_noise(Loud, lambda table: Gaussian(table.sigma))
    experiment = quadratic({"algorithm.subspace": "even", "noise": {"kind": "loud"}, "simulation.steps": 5})
    np.testing.assert_array_equal(ft.simulate(experiment, jobs=2).mean, ft.simulate(experiment).mean)


def test_mini_batches_of_an_added_problem_need_samples(quadratic):
    ft.add_problem(Plain, lambda *_: ft.build_problem(quadratic()))
    with pytest.raises(ft.ExperimentError, match='"plain" has no samples'):
        ft.build_problem(quadratic({"problem": {"kind": "plain"}, "noise": {"kind": "minibatch"}}))
    assert ft.build_problem(quadratic({"problem": {"kind": "plain"}})).smoothness == 1


def test_exact_evidence_refuses_a_noise_that_may_depend_on_the_iterate(quadratic):
    class Relative:
        def variance(self, problem):
            return Gaussian(1.0).variance(problem)

        def sample(self, rng, problem, x, gradient):  # noqa: ARG002
            return {name: g + np.minimum(1, abs(g)) * rng.standard_normal(g.shape) for name, g in gradient.items()}

    ft.add_noise(Loud, lambda _: Relative())
    with pytest.raises(ft.ExperimentError, match="Relative noise is not known to be additive"):
        exact(quadratic({"noise": {"kind": "loud"}}))


# --- subspaces that are not what they should be ------------------------------------------------------------------

MISSHAPEN = {
    "too short": Drawn(lambda key, shape, density: np.ones(3, bool)),  # noqa: ARG005
    "numbers": Drawn(lambda key, shape, density: np.ones((*np.shape(key)[:-1], *shape))),  # noqa: ARG005
    "one set for all trials": Drawn(lambda key, shape, density: np.ones(shape, bool)),  # noqa: ARG005
    "a schedule with trials": Scheduled(lambda period, shape, density: np.ones((2, *shape), bool)),  # noqa: ARG005
}


@pytest.mark.parametrize("case", MISSHAPEN)
def test_units_of_another_shape_are_refused(case, quadratic):
    ft.add_subspace("odd", MISSHAPEN[case])
    with pytest.raises(ValueError, match="booleans of shape"):
        ft.simulate(quadratic({"algorithm.subspace": "odd", "simulation.steps": 2}))


@pytest.mark.parametrize("share", [1.5, -0.1, np.full(5, 0.5), np.full((2, 12), 0.5)], ids=["> 1", "< 0", "short", "long"])
def test_shares_that_are_no_probabilities_are_refused(share, quadratic):
    ft.add_subspace("odd", Drawn(lambda key, shape, density: np.asarray(True), lambda shape, density: share))  # noqa: ARG005
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        setting_of(quadratic({"algorithm.subspace": "odd"}))


def _fickle(period, shape, density, rng=np.random.default_rng(0)):  # noqa: ARG001, B008
    return rng.random(shape) < density


def _by_trial(key, shape, density):
    """Trial 0 of a batch is another set than that of a single run."""
    from frugal_theory.algorithm.selection import independent_units

    inside = independent_units(key, np.arange(np.prod(shape)), density)
    return (~inside if np.ndim(key) else inside).reshape(inside.shape[:-1] + shape)


SUSPECT = {
    "two sets for the same arguments": Scheduled(_fickle),
    "trial 0 another set": Drawn(_by_trial, lambda shape, density: 1 - density),  # noqa: ARG005
}


@pytest.mark.parametrize("words", SUSPECT)
def test_a_subspace_that_is_no_function_of_its_arguments_meets_no_premise(words, quadratic):
    ft.add_subspace("odd", SUSPECT[words])
    experiment = quadratic({"algorithm.subspace": "odd", "simulation.steps": 3, "simulation.trials": 2})
    premise = check_premises(instance_of(experiment))[5]
    assert not premise.held
    assert words in premise.how
    assert {verdict.status for verdict in ft.verify(experiment)} == {"not applicable"}


def test_a_worker_forgets_what_had_the_name_before(monkeypatch):
    """Workers outlive a run; here the process takes itself for another one."""
    called = []
    with extended():
        ft.add_subspace("alike", Scheduled(even))
        carried = carry(lambda: called.append(SUBSPACES["alike"].units))
    with extended():
        ft.add_subspace("alike", Scheduled(lambda *given: ~even(*given)))
        carried()
        assert called[-1] is not even, "what this process has itself is left alone"
        monkeypatch.setattr("os.getpid", lambda: -1)
        carried()
        assert called[-1] is even
