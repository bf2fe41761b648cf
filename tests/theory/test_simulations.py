"""The questions under simulations/: every one complete, and what they measure held against closed forms."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.exact.stationary import stationary
from frugal_theory.instance import setting_of
from frugal_theory.simulations import interpolation, momentum_leak, off_set_reading, vanishing_momentum
from frugal_theory.studies import questions
from frugal_theory.verdicts.claims import claims_of
from simulations.__main__ import main
from tests.calling import called
from tests.tolerances import CONSTANT_GRADIENT, LONG_RECURSION, ROUNDING

ROOT = Path(__file__).parents[2]

FEW_GAPS = {"algorithm.density": [0.25, 1.0], "algorithm.state_full.beta": [0.5, 0.99], "algorithm.update_gap": [1, 10]}

LEAK_SWEEP = {"algorithm.density": [0.25, 0.5], "algorithm.state_full.beta": [0.5, 0.9], "algorithm.update_gap": [1, 7]}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return called(main, *arguments, cwd=ROOT)


@pytest.mark.parametrize("name", questions.names())
def test_a_question_is_complete(name):
    asked = questions.STUDIES[name]
    assert asked.question.endswith("?")
    assert questions.experiment(name).name.replace("-", "_") == name
    assert (questions.FOLDER / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    readme = (questions.FOLDER / "README.md").read_text(encoding="utf-8")
    row = f"| [{asked.question}](#{name}) |"
    assert row in readme, f"simulations/README.md has no row {row}"
    for needed in (f"`frugal-theory study {name}`", f"### {name}\n", f"(figures/{name}.png)"):
        assert needed in readme


WITH_A_PROBLEM = [path for path in sorted(questions.FOLDER.glob("*.toml")) if "[problem]" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_A_PROBLEM, ids=lambda path: path.stem)
def test_an_experiment_can_be_verified(path):
    one = ft.load(path)
    cells = ft.cells(one)
    assert cells
    few = one.model_copy(update={"sweep": {key: values[:1] for key, values in one.sweep.items()}})
    assert all(ready.setting.alpha > 0 for ready in claims_of(few))


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["vanishing_momentun", "all"], ["vanishing_momentum", "--set", "nonsense=1"]]
)
def test_bad_input_is_one_line(arguments, tmp_path):
    done = command(*arguments, "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ecosystem
def test_answers_are_printed_and_written(tmp_path):
    few = "".join(f'"{key}" = {values}, ' for key, values in FEW_GAPS.items()).removesuffix(", ")
    keys = ["--set", f"sweep={{{few}}}", "--set", "simulation.steps=100", "--jobs", "1"]
    done = command("vanishing_momentum", "--out", str(tmp_path), *keys)
    assert done.returncode == 0, done.stderr
    assert vanishing_momentum.QUESTION in done.stdout
    folder = tmp_path / "vanishing_momentum"
    assert sorted(path.name for path in folder.iterdir()) == ["experiment.toml", "figures", "study.json", "table.csv"]
    assert (folder / "figures" / "vanishing_momentum.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.ecosystem
def test_a_wheel_has_the_questions(tmp_path):
    """And answers one without a checkout: the wheel alone is on the path."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        tmp_path / "src",
    ]
    pytest.importorskip("setuptools")
    shutil.copytree(ROOT, tmp_path / "src", symlinks=True, ignore=shutil.ignore_patterns(".*", "runs", "tests", "build"))
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packages = {name.split("/")[0] for name in archive.namelist()}
        archive.extractall(tmp_path / "installed")
    assert {name for name in packages if "." not in name} == {"frugal_theory", "frugal_gpu"}
    found = tmp_path / "installed" / "frugal_theory" / "simulations"
    for path in [*questions.FOLDER.glob("*.py"), *questions.FOLDER.glob("*.toml")]:
        assert (found / path.name).read_bytes() == path.read_bytes()
    line = [sys.executable, "-m", "frugal_theory", "study"]
    listed = subprocess.run(line, cwd=tmp_path / "installed", capture_output=True, text=True, check=True)
    assert [row.split()[0] for row in listed.stdout.split("\n\n")[0].splitlines()] == [*questions.names(), "adversaries"]


# --- does momentum vanish? -------------------------------------------------------------------------------------


def test_vanishing_momentum():
    keys = {"simulation.steps": 100, "sweep": FEW_GAPS}
    table = vanishing_momentum.measure(questions.experiment("vanishing_momentum", keys))
    assert set(table["quantity"]) == {"on the set", "everywhere", "from the start"}
    np.testing.assert_allclose(table["measured"], table["closed_form"], rtol=CONSTANT_GRADIENT)


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({"problem.eigenvalues": [1e-8, 1.0]}, "equal eigenvalues"),
        ({"noise": {"kind": "gaussian"}}, "noise"),
        ({"sweep": {"algorithm.density": [0.5]}}, "density 1"),
        ({"simulation.steps": 9}, "10 steps"),
        ({"algorithm.subspace": "randk"}, "coordinates"),
        ({"algorithm.weight_decay": 0.1}, "weight_decay"),
    ],
)
def test_what_vanishing_momentum_needs(keys, needed):
    with pytest.raises(ft.ExperimentError, match=needed):
        vanishing_momentum.measure(questions.experiment("vanishing_momentum", keys))


@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
def test_interpolation_needs_what_it_compares(density):
    with pytest.raises(ft.ExperimentError, match=r"algorithm\.density with 0 and one between 0 and 1 is needed"):
        interpolation.measure(questions.experiment("interpolation", {"algorithm.density": density}))


# --- how large is the leak? ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leak():
    return momentum_leak.measure(questions.experiment("momentum_leak", {"sweep": LEAK_SWEEP}), trials=400)


def test_the_leak_in_law_is_the_closed_form(leak):
    np.testing.assert_allclose(leak["law"], leak["closed_form"], rtol=ROUNDING)
    assert set(leak["law_kind"]) == {"redrawn", "scheduled", "turning", "fixed"}


def test_the_leak_of_the_real_step_is_the_closed_form(leak):
    slack = momentum_leak.REMAINDER / (1 - leak["beta"])
    assert np.all(leak["lower"] - slack <= leak["closed_form"])
    assert np.all(leak["closed_form"] <= leak["upper"] + slack)
    known = leak["law_kind"] != "redrawn"  # no chance in the length of a run
    np.testing.assert_allclose(leak["measured"][known], leak["closed_form"][known], rtol=0, atol=float(slack.max()))
    assert known.sum() > 0
    drawn = leak[~known]
    assert np.all(drawn["upper"] - drawn["lower"] < 0.25 * drawn["closed_form"])


def test_where_nothing_leaks_nothing_is_counted():
    """Momentum that is held off the set comes out when its coordinate returns: the count must be 0, not the closed form."""
    chosen = questions.experiment("momentum_leak", {"algorithm.off_set_momentum": "hold", "cases": [], "sweep": {}})
    gone, on_set = momentum_leak.leaks(chosen.algorithm, {"x": (4,)}, 50)
    assert np.all(np.abs(gone) < momentum_leak.REMAINDER / (1 - 0.9))
    assert 0 < on_set.mean() < 1


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({"algorithm.off_set_momentum": "hold"}, "reset"),
        ({"algorithm.density": 1.0}, "nothing leaks"),
        ({"algorithm.state_free": "signsgd"}, "signsgd"),
        ({"algorithm.state_free": "none"}, "none"),
        ({"algorithm.state_free.lr_scale": 0.5}, "lr_scale"),
        ({"algorithm.weight_decay": 0.1}, "weight_decay"),
        ({"algorithm.state_full": "adamw"}, "adamw"),
        ({"algorithm.subspace": "random", "algorithm.on_update": "project"}, "on_update"),
    ],
)
def test_what_leaks_need(keys, needed):
    with pytest.raises(ft.ExperimentError, match=needed):
        momentum_leak.measure(questions.experiment("momentum_leak", keys | {"cases": [], "sweep": {}}))


# --- does momentum off the set matter? -------------------------------------------------------------------------


def reading(**keys):
    overrides = {"sweep": {}, "cases": [], "problem.dimension": 5, "simulation.steps": 300, "algorithm.learning_rate": 0.02}
    return questions.experiment("off_set_reading", overrides | keys)


READINGS = {"sweep": {"algorithm.off_set_momentum": ["reset", "decay", "hold"]}}


@pytest.mark.parametrize("chosen", ["reset", "decay", "hold"])
def test_the_floor_is_the_closed_stationary_form(chosen):
    sweep = {"algorithm.off_set_momentum": list(dict.fromkeys([chosen, "hold"]))}
    table = off_set_reading.measure(reading(**{"sweep": sweep, "algorithm.update_gap": 1, "algorithm.density": 0.3}))
    expected = stationary(0.02, 0.9, 1 / np.arange(1, 6), 0.3, 0.1, off_set_momentum=chosen).sum()
    np.testing.assert_allclose(table["floor"][0], expected, rtol=LONG_RECURSION)


@pytest.mark.parametrize("chosen", ["reset", "decay", "hold"])
@pytest.mark.parametrize("gap", [1, 7])
def test_the_effective_step_is_the_progress_on_a_constant_gradient(chosen, gap, monkeypatch):
    monkeypatch.setattr(vanishing_momentum, "PERIODS", 800)  # momentum that is held is forgotten at 1 − p(1−β) a step
    sweep = {"algorithm.density": [0.4, 1.0], "algorithm.state_full.beta": [0.8], "algorithm.update_gap": [gap]}
    flat = questions.experiment("vanishing_momentum", {"sweep": sweep, "algorithm.off_set_momentum": chosen})
    table = vanishing_momentum.measure(flat)
    measured = table.loc[table["quantity"] == "everywhere", "measured"].item()
    assert measured == pytest.approx(off_set_reading.effective_step(chosen, 0.8, gap, 0.4), rel=CONSTANT_GRADIENT)


def test_readings_differ_while_sets_are_short_and_agree_when_they_are_long():
    short, long = (off_set_reading.measure(reading(**READINGS, **{"algorithm.update_gap": gap})) for gap in (1, 300))
    for table in (short, long):
        assert list(table["reading"]) == ["reset", "decay", "hold"]
        assert np.all(table["bound_share"] <= 1)
    assert list(short["effective_step"]) == sorted(short["effective_step"])
    assert list(short["transient"]) == sorted(short["transient"], reverse=True)
    assert short["transient_change"].min() < -0.1
    assert long["transient"].nunique() == 1  # no set changes within these steps


def test_no_start_and_no_noise_is_above_the_share_of_the_bound():
    """The share is that of the worst coordinate alone: mixtures of starts and noises stay below it, and one attains it."""
    one = reading(**{"algorithm.off_set_momentum": "hold"})
    share = off_set_reading.share_of_bound(one)
    theorem, rng = off_set_reading.THEOREMS[off_set_reading.THEOREM], np.random.default_rng(0)
    alone, mixed = list(np.eye(5)), [rng.dirichlet(np.ones(5)) for _ in range(6)]
    pairs = [(x, 0 * x) for x in alone] + [(0 * x, x) for x in alone] + list(zip(mixed, mixed[::-1], strict=True))
    found = []
    for squares, variance in pairs:
        keys = {"problem.start": np.sqrt(squares).tolist(), "noise.sigma": np.sqrt(variance).tolist()}
        chosen = reading(**keys | {"algorithm.off_set_momentum": "hold"})
        bound = theorem.bound(setting_of(chosen.model_copy(update={"algorithm": reading().algorithm})))
        found.append(np.max(ft.exact(chosen, metric=theorem.metric).mean / bound))
    assert max(found) == pytest.approx(share, rel=ROUNDING)
    assert max(found[10:]) < share


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({"algorithm.density": 1.0}, "coordinates"),
        ({"problem.rotated": True}, "rotated"),
        ({"noise": {"kind": "none"}}, "Gaussian"),
        ({}, "hold"),
    ],
)
def test_what_readings_need(keys, needed):
    with pytest.raises(ft.ExperimentError, match=needed):
        off_set_reading.measure(reading(**keys))
