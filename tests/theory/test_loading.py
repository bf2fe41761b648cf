"""The experiment file: what is refused, in which words; overrides, cases and sweeps."""

from __future__ import annotations

import pytest

import frugal_theory as ft
from frugal_theory.config.load import cells, dump, load, parse, parse_overrides

HEAD = 'name = "demo"\n'

REFUSED = {
    "unknown key": ("[algorithm]\ndensty = 0.5", ["algorithm.densty", 'did you mean "density"', "update_gap"]),
    "unknown table": ("[problm]\ndimension = 5", ["problm", 'did you mean "problem"']),
    "unknown key of a rule": (
        '[algorithm]\nstate_full = { rule = "sgdm", betas = [0.9, 0.9] }',
        ["algorithm.state_full.betas", 'did you mean "beta"'],
    ),
    "unknown rule": ('[algorithm]\nstate_full = "adam"', ["algorithm.state_full.rule", 'did you mean "adamw"', '"lion"']),
    "unknown kind": ('[noise]\nkind = "minibatchs"', ["noise.kind", 'did you mean "minibatch"']),
    "kind is missing": ("[problem]\ndimension = 5", ["problem.kind", "missing", '"logistic"']),
    "wrong type": ('[algorithm]\ndensity = "half"', ['algorithm.density = "half": allowed: a number from 0 to 1']),
    "float for an integer": ("[algorithm]\nupdate_gap = 1.5", ["algorithm.update_gap = 1.5: allowed: a whole number from 1"]),
    "density out of range": ("[algorithm]\ndensity = 1.5", ["algorithm.density = 1.5: allowed: a number from 0 to 1"]),
    "beta out of range": (
        '[algorithm]\nstate_full = { rule = "sgdm", beta = 1.0 }',
        ["algorithm.state_full.beta = 1.0: allowed: a number >= 0 and < 1"],
    ),
    "one beta of two": (
        '[algorithm]\nstate_full = { rule = "lion", betas = [0.9, 1.0] }',
        ["algorithm.state_full.betas[1] = 1.0: allowed: a number >= 0 and < 1"],
    ),
    "one sigma of two": (
        '[noise]\nkind = "gaussian"\nsigma = [0.1, -1.0]',
        ["noise.sigma[1] = -1.0: allowed: a number >= 0"],
    ),
    "a list for a rule's name": (
        "[algorithm]\nstate_full = { rule = [1] }",
        ['algorithm.state_full.rule = [1]: allowed: "sgdm", "adamw"'],
    ),
    "a list for a kind": ("[problem]\nkind = [1]", ['problem.kind = [1]: allowed: "quadratic"']),
    "a number for a name": ("[algorithm]\nsubspace = 3", ['algorithm.subspace = 3: allowed: "coordinates", "blocks"']),
    "confidence": ("[verify]\nconfidence = 1.0", ["verify.confidence = 1.0: allowed: a number > 0 and < 1"]),
    "seed": ("seed = -1", ["seed = -1: allowed: a whole number >= 0"]),
    "condition": ('[problem]\nkind = "quadratic"\ncondition = 0.5', ["problem.condition = 0.5: allowed: a number >= 1"]),
    "update_gap < 1": ("[algorithm]\nupdate_gap = 0", ["algorithm.update_gap", "from 1 to"]),
    "learning rate": ("[algorithm]\nlearning_rate = -1.0", ["algorithm.learning_rate", "> 0"]),
    "subspace": ('[algorithm]\nsubspace = "sdv"', ["algorithm.subspace", 'did you mean "svd"']),
    "svd on a vector": (
        '[algorithm]\nsubspace = "svd"\n[problem]\nkind = "quadratic"',
        ["svd", "needs a matrix", '"coordinates"', 'problem.kind = "matrix"'],
    ),
    "eigen without a Hessian": (
        '[algorithm]\nsubspace = "eigen"\n[problem]\nkind = "logistic"',
        ["eigen", 'problem.kind = "quadratic"'],
    ),
    "set outside the problem": (
        '[algorithm]\nsubspace = "coordinates"\nset = [0, 7]\n[problem]\nkind = "quadratic"\ndimension = 5',
        ["algorithm.set", "coordinate 7", "0 to 4"],
    ),
    "set of blocks": ("[algorithm]\nset = [0]", ["set", '"coordinates"']),
    "set twice": ('[algorithm]\nsubspace = "coordinates"\nset = [0, 0]', ["set", "twice"]),
    "hold in a basis": (
        '[algorithm]\nsubspace = "random"\noff_set_momentum = "hold"',
        ["off_set_momentum", '"random"', '"columns"'],
    ),
    "mini-batch without samples": (
        '[noise]\nkind = "minibatch"\n[problem]\nkind = "quadratic"',
        ["minibatch", '"logistic"', '"quadratic"'],
    ),
    "sigma of the wrong length": (
        '[problem]\nkind = "quadratic"\ndimension = 3\n[noise]\nkind = "gaussian"\nsigma = [0.1, 0.2]',
        ["noise.sigma", "2 entries", "3 coordinates"],
    ),
    "start of the wrong length": (
        '[problem]\nkind = "quadratic"\neigenvalues = [1.0, 0.5]\nstart = [1.0]',
        ["start", "1 entries", "dimension 2"],
    ),
    "eigenvalues and dimension": (
        '[problem]\nkind = "quadratic"\ndimension = 3\neigenvalues = [1.0, 0.5]',
        ["dimension is 3", "2 entries"],
    ),
    "sweep value": ('[sweep]\n"algorithm.density" = [0.1, 2.0]', ["[sweep]", "algorithm.density", "2.0"]),
    "sweep key": ('[sweep]\n"algorithm.densty" = [0.1]', ["[sweep]", "algorithm.densty", 'did you mean "density"']),
    "case": ('[[cases]]\nname = "a"\nnoise = { kind = "gausian" }', ["case 'a'", "noise.kind", 'did you mean "gaussian"']),
    "invalid TOML": ("[algorithm\ndensity = 1", ["invalid TOML", "line 2"]),
    "name": ("", ["name", "missing"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line_naming_file_key_and_what_is_allowed(case):
    text, words = REFUSED[case]
    with pytest.raises(ft.ExperimentError) as caught:
        parse(text if case == "name" else HEAD + text, "demo.toml")
    message = str(caught.value)
    assert message.startswith("demo.toml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_missing_file(tmp_path):
    with pytest.raises(ft.ExperimentError, match="no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ft.ExperimentError, match="is a folder"):
        load(tmp_path)


def test_overrides_reach_into_tables():
    overrides = parse_overrides(["algorithm.density=0.75", "algorithm.state_full.beta=0.5", "algorithm.subspace=coordinates"])
    experiment = parse(HEAD + '[algorithm]\nstate_full = "sgdm"', overrides=overrides)
    assert experiment.algorithm.density == 0.75
    assert experiment.algorithm.subspace == "coordinates"
    assert experiment.algorithm.state_full.beta == 0.5


@pytest.mark.parametrize("setting", ["algorithm.density", "=1"])
def test_a_malformed_override_is_refused(setting):
    with pytest.raises(ft.ExperimentError, match="KEY=VALUE"):
        parse_overrides([setting])


def test_cells_are_cases_times_the_grid():
    text = HEAD + (
        '[problem]\nkind = "quadratic"\ndimension = 5\n[noise]\nkind = "gaussian"\n'
        '[sweep]\n"algorithm.density" = [0.0, 1.0]\n"algorithm.update_gap" = [1, 2, 3]\n'
        '[[cases]]\nname = "a"\nproblem = { dimension = 6 }\n'
        '[[cases]]\nname = "b"\nproblem = { kind = "logistic" }\nnoise = { kind = "minibatch" }\n'
    )
    found = cells(parse(text))
    assert len(found) == 2 * 2 * 3
    assert found[0].settings == {"case": "a", "algorithm.density": 0.0, "algorithm.update_gap": 1}
    assert found[0].experiment.problem.dimension == 6, "a case without a kind changes keys of the table"
    assert found[0].experiment.noise.kind == "gaussian"
    assert found[-1].experiment.problem.kind == "logistic", "a case with a kind replaces the table"
    assert found[-1].experiment.algorithm.density == 1.0
    assert len({id(cell.settings) for cell in found}) == len(found)


def test_without_sweep_there_is_one_cell_the_experiment_itself():
    experiment = parse(HEAD)
    (cell,) = cells(experiment)
    assert cell.settings == {}
    assert cell.label == ""
    assert cell.experiment == experiment


def test_dump_and_parse_are_inverse():
    text = HEAD + (
        "seed = 3\n[algorithm]\nlearning_rate = { fraction_of_admissible = 0.5 }\n"
        'state_full = { rule = "lion", betas = [0.9, 0.95] }\n'
        '[problem]\nkind = "quadratic"\neigenvalues = [1.0, 0.25]\nstart = [1.0, -2.0]\n'
        '[noise]\nkind = "student-t"\nsigma = [0.1, 0.2]\n'
        '[sweep]\n"simulation.steps" = [5, 6]\n[[cases]]\nname = "a"\n'
        '[[cases]]\nname = "b"\nnoise = { kind = "none" }\n[training]\nsteps = 5\n'
    )
    experiment = parse(text)
    assert parse(dump(experiment)) == experiment
    assert [c.settings for c in cells(parse(dump(experiment)))] == [c.settings for c in cells(experiment)]


def test_the_algorithm_knows_the_experiments_seed():
    assert parse(HEAD + "seed = 11").algorithm.seed == 11
    assert parse(HEAD + "seed = 11\n[algorithm]\nseed = 2").algorithm.seed == 2


def test_an_experiment_is_frozen():
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        parse(HEAD).algorithm.density = 0.1


SWEPT = HEAD + '[sweep]\n"algorithm.density" = [0.0, 0.5, 1.0]\n"algorithm.state_full.beta" = [0.5, 0.9]\n'


def test_a_key_of_the_sweep_that_is_set_apart_has_this_value_alone():
    text = SWEPT.replace("[sweep]", '[algorithm]\nstate_full = "sgdm"\n[sweep]')
    found = cells(parse(text, overrides={"algorithm.density": 0.25}))
    assert [cell.settings["algorithm.density"] for cell in found] == [0.25, 0.25]
    assert {cell.experiment.algorithm.density for cell in found} == {0.25}
    whole = cells(parse(text, overrides={"algorithm.state_full": {"rule": "sgdm", "beta": 0.7}}))
    assert [cell.settings for cell in whole] == [{"algorithm.density": density} for density in (0.0, 0.5, 1.0)]
    assert {cell.experiment.algorithm.state_full.beta for cell in whole} == {0.7}


def test_what_a_swept_table_would_replace_cannot_be_set_apart():
    text = HEAD + '[sweep]\n"algorithm.state_full" = ["sgdm", "lion"]\n'
    with pytest.raises(ft.ExperimentError, match=r"algorithm\.state_full\.beta: \[sweep\] replaces \S+ as a") as no:
        parse(text, overrides={"algorithm.state_full.beta": 0.5})
    assert "\n" not in str(no.value)


CASES = """
[[cases]]
name = "little"
algorithm = { density = 0.1 }
[[cases]]
name = "much"
algorithm = { density = 0.9, state_full = { rule = "lion" } }
[[cases]]
name = "neither"
[[cases]]
name = "another problem"
problem = { kind = "logistic", l2 = 0.1 }
"""


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        ({"algorithm.density": 0.9}, ["much", "neither", "another problem"]),
        ({"algorithm.density": 0.5}, ["neither", "another problem"]),
        ({"algorithm.state_full.rule": "lion"}, ["little", "much", "neither", "another problem"]),
        ({"algorithm.state_full": "sgdm"}, ["little", "neither", "another problem"]),
        ({"problem": {"kind": "quadratic", "dimension": 3}}, ["little", "much", "neither"]),
        ({"name": "renamed", "simulation.steps": 7}, ["little", "much", "neither", "another problem"]),
    ],
)
def test_a_case_that_says_otherwise_is_left_out(overrides, left):
    """Every cell that is left has what was asked for."""
    found = cells(parse(HEAD + CASES, overrides=overrides))
    assert [cell.settings["case"] for cell in found] == left
    if density := overrides.get("algorithm.density"):
        assert {cell.experiment.algorithm.density for cell in found} == {density}


def test_a_sweep_and_cases_that_are_set_apart_themselves_are_meant_as_they_are():
    own = {"sweep": {"algorithm.density": [0.2, 0.4]}, "cases": [{"name": "one", "algorithm": {"update_gap": 3}}]}
    found = cells(parse(SWEPT + CASES, overrides={"algorithm.density": 0.5, "algorithm.update_gap": 9, **own}))
    assert [cell.settings for cell in found] == [{"case": "one", "algorithm.density": density} for density in (0.2, 0.4)]
    assert {cell.experiment.algorithm.update_gap for cell in found} == {3}


def test_where_every_case_says_otherwise_the_file_is_one_cell():
    text = HEAD + '[[cases]]\nname = "a"\nalgorithm = { density = 0.1 }\n'
    (cell,) = cells(parse(text, overrides={"algorithm.density": 0.3}))
    assert (cell.settings, cell.experiment.algorithm.density) == ({}, 0.3)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"condition": 10.0}, "condition"),
        ({"spectrum": "uniform", "exponent": 2.0}, "exponent"),
        ({"eigenvalues": [3.0, 1.0], "smoothness": 9.0}, "smoothness"),
        ({"eigenvalues": [3.0, 1.0], "spectrum": "two-level"}, "spectrum"),
    ],
)
def test_a_key_of_a_quadratic_that_says_nothing_is_refused(keys, key):
    with pytest.raises(ft.ExperimentError, match=rf"problem: {key} = \S+ is not read: .*; leave {key} out$"):
        parse({"name": "x", "problem": {"kind": "quadratic", **keys}})


def test_a_sweep_over_what_says_nothing_is_refused():
    text = HEAD + '[problem]\nkind = "quadratic"\n[sweep]\n"problem.condition" = [100.0, 10.0]\n'
    with pytest.raises(ft.ExperimentError, match=r"condition = 10\.0 is not read"):
        parse(text)
