"""What a notebook and an interpreter show, and what ``ft.plot``, ``ft.table`` and ``ft.noise_floor`` give."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.exact.stationary import stationary
from frugal_theory.report.drawing import COLOURS, HUES, style
from frugal_theory.studies.study import Answer
from tests.tolerances import LONG_RECURSION, ROUNDING

SWEEP = {"sweep": {"algorithm.density": [0.0, 1.0]}, "verify.theorems": ["sgd", "sgdm"]}


@pytest.fixture(scope="module")
def verdicts():
    text = 'name = "two"\n[algorithm]\nlearning_rate = 0.1\nsubspace = "coordinates"\nstate_full = "sgdm"\nstate_free = "sgd"\n'
    problem = '[problem]\nkind = "quadratic"\ndimension = 4\n[simulation]\nsteps = 20\ntrials = 8\n'
    return ft.verify(ft.parse(text + problem, overrides=SWEEP))


def test_a_table_has_a_column_a_setting(verdicts):
    table = ft.table(verdicts)
    assert list(table["algorithm.density"]) == [0.0, 0.0, 1.0, 1.0]
    assert list(table["theorem"]) == ["sgd", "sgdm"] * 2
    assert list(table["measured"].notna()) == [v.measured is not None for v in verdicts]
    assert ft.table([]).empty


def test_what_is_shown_is_short_and_says_what_it_is(verdicts, quadratic):
    experiment = quadratic()
    shown = {
        "experiment test": experiment,
        "verdict sgd [density = 0.0]: holds": verdicts[0],
        "theorem sgd: SGD": ft.THEOREMS["sgd"],
        "evidence exact: squared_gradient_norm": ft.exact(experiment),
    }
    for text, value in shown.items():
        assert text in repr(value)
        assert len(repr(value)) < 250
        assert "<" in value._repr_html_()
    assert repr(verdicts).count("\n") == len(verdicts) - 1
    assert verdicts._repr_html_().count("<tr>") == 1 + len(verdicts)
    assert "<b>" not in ft.parse('name = "x"')._repr_html_()


def test_everything_public_is_offered_and_there():
    assert set(dir(ft)) == set(ft.__all__)
    assert [name for name in ft.__all__ if not hasattr(ft, name)] == []
    assert ft.__version__[0].isdigit()


def test_a_path_is_taken_for_its_experiment(experiment_file, quadratic):
    path = experiment_file()
    assert np.array_equal(ft.exact(path).mean, ft.exact(quadratic()).mean)
    assert np.array_equal(ft.simulate(str(path)).mean, ft.simulate(quadratic()).mean)
    assert [v.status for v in ft.verify(path)] == [v.status for v in ft.verify(quadratic())]
    assert ft.bound(path, "run_length").shape == (60,)
    with pytest.raises(ft.ExperimentError, match="no such file"):
        ft.verify("nowhere.toml")


def test_figures_of_evidence_verdicts_and_studies(quadratic, verdicts):
    import pandas as pd
    from matplotlib.figure import Figure

    class Mine:
        def draw(self, table):
            return {"one": Figure(), "two": table}

        def answer(self, table):  # noqa: ARG002
            return Answer("", "open")

    exact, sampled = ft.exact(quadratic()), ft.simulate(quadratic())
    for what in (exact, [exact, sampled], {"exact": exact, "sampled": sampled}, verdicts):
        assert isinstance(ft.plot(what), Figure)
    (axes,) = ft.plot({"exact": exact, "sampled": sampled}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["exact", "sampled"]
    assert np.allclose(axes.lines[0].get_ydata(), exact.mean, rtol=ROUNDING)
    assert isinstance(ft.plot(Mine(), pd.DataFrame()), Figure)
    with pytest.raises(TypeError, match="got int"):
        ft.plot(3)
    with pytest.raises(ValueError, match="nothing to draw"):
        ft.plot([v for v in verdicts if v.measured is None])


@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_the_floor_is_the_closed_form(quadratic, density, reading):
    keys = {"algorithm.density": density, "algorithm.update_gap": 1, "algorithm.off_set_momentum": reading}
    experiment = quadratic({**keys, "algorithm.learning_rate": 0.3})
    problem = ft.build_problem(experiment)
    closed = stationary(0.3, 0.9, problem.eigenvalues, density, 0.1, 1.0, reading).sum()
    assert ft.noise_floor(experiment) == pytest.approx(closed, rel=LONG_RECURSION)


@pytest.mark.parametrize("gap", [3, 10])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_floor_is_where_a_long_run_ends(quadratic, gap, rotated):
    keys = {"algorithm.update_gap": gap, "problem.rotated": rotated, "algorithm.learning_rate": 0.2}
    keys |= {"problem.spectrum": "uniform", "problem.condition": 3.0}
    density = 1.0 if rotated else 0.4
    steps = 40 * gap * 50
    experiment = quadratic({**keys, "algorithm.density": density, "simulation.steps": steps})
    sums = ft.exact(experiment).mean * np.arange(1, steps + 1)
    late = (sums[-1] - sums[-1 - 30 * gap]) / (30 * gap)
    assert ft.noise_floor(experiment) == pytest.approx(late, rel=1e-6)


def test_no_floor_is_one_line_or_infinite(quadratic):
    assert ft.noise_floor(quadratic({"algorithm.learning_rate": 50.0})) == np.inf
    assert ft.noise_floor(quadratic({"noise.kind": "none", "noise": {"kind": "none"}})) == 0
    with pytest.raises(ft.ExperimentError, match="test: no noise floor: its coordinates mix"):
        ft.noise_floor(quadratic({"problem.rotated": True}))
    with pytest.raises(ft.ExperimentError, match="no noise floor"):
        ft.noise_floor(quadratic({"algorithm.state_free": "signsgd"}))


def test_the_version_is_printed_and_nothing_else(tmp_path):
    from tests.calling import frugal_theory

    done = frugal_theory("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"frugal-lab {ft.__version__}\n"


def test_use_style_gives_later_figures_the_fonts_and_line_colours_of_the_report(quadratic):
    shared = ("font.size", "font.family", "text.color", "grid.color", "axes.labelcolor", "figure.facecolor")
    with matplotlib.rc_context():
        colours = ft.use_style()
        own = {key: matplotlib.rcParams[key] for key in (*shared, "axes.prop_cycle")}
        with style():
            assert {key: matplotlib.rcParams[key] for key in shared} == {key: own[key] for key in shared}
    assert colours == [COLOURS[role] for role in HUES]
    assert [matplotlib.colors.to_hex(part["color"]) for part in own["axes.prop_cycle"]] == colours
    evidence = ft.exact(quadratic())
    lines = ft.plot({"a": evidence, "b": evidence}).axes[0].lines
    assert [matplotlib.colors.to_hex(line.get_color()) for line in lines[:2]] == colours[:2]
