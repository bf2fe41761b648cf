"""Certificates: against closed forms, the exact worst case and exact expectations; and that a false one is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.certificates import Group, NotCertified, Plan, certificate, check, checker, sealed
from frugal_theory.certificates.program import Program
from frugal_theory.instance import instance_of, setting_of
from frugal_theory.studies.ladder.ladder import _links
from frugal_theory.studies.ladder.proved import bounds
from frugal_theory.testing import check_theorem
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.certified import Certified, CertifiedFor, plan_of
from frugal_theory.verdicts.claims import claims_of
from tests.tolerances import SOLVERS_AGREE

pytest.importorskip("clarabel")

GIVEN_UP = 0.011
"""The share of the optimum that a certificate may give up, 1 %, and the rounding of its coefficients."""

ALL, HALF = (Group(Fraction(1)),), (Group(Fraction(1, 2)),)
PARTIAL = (Group(Fraction(1), weight=0.5), Group(Fraction(0), weight=0.5))
IN_TURN = (Group(None, (True, False), 0.5), Group(None, (False, True), 0.5))


def plan(groups=ALL, alpha=0.5, beta=0.5, gap=1, **rest):
    numbers = (Fraction(alpha), Fraction(1), Fraction(beta), Fraction(1))
    return Plan(*numbers, gap, groups, **rest)


def constants(found):
    """C, and the noise constants averaged over the steps."""
    return float(Fraction(found["transient"])), np.mean([[float(Fraction(n)) for n in row] for row in found["noise"]], axis=0)


# --- against what is known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "alpha"), [(0.3, 0.2), (0.9, 0.03), (0.9, 1.71), (0.99, 1.0), (0.99, 0.0006)])
def test_full_sets_give_the_closed_form(beta, alpha):
    """C = D/(α(1 − α(1−β)/(2(1+β)))) and n = (α/2)/(1 − …), D = 1 + 2βα/(1−β²): the noise constant is the attained one."""
    room = 1 - alpha * (1 - beta) / (2 * (1 + beta))
    transient, noise = constants(certificate(plan(alpha=alpha, beta=beta)))
    for found, exact in ((transient, (1 + 2 * beta * alpha / (1 - beta**2)) / (alpha * room)), (noise[0], alpha / 2 / room)):
        assert exact <= found <= (1 + GIVEN_UP) * exact


@pytest.mark.parametrize("alpha", [0.1, 1.0, 1.9])
def test_empty_sets_give_the_bound_of_sgd(alpha):
    transient, noise = constants(certificate(plan((Group(Fraction(0)),), alpha)))
    for found, exact in ((transient, 1 / (alpha * (1 - alpha / 2))), (noise[0], alpha / 2 / (1 - alpha / 2))):
        assert exact <= found <= (1 + GIVEN_UP) * exact


@pytest.mark.parametrize(("beta", "alpha"), [(0.3, 0.05), (0.99, 1.791)])
def test_runs_of_five_steps_attain_the_worst_case(beta, alpha):
    """Multipliers between neighbours are enough: the program with every pair of points has the same value."""
    pytest.importorskip("cvxpy")
    from frugal_theory.evidence.exact.linear import updates
    from frugal_theory.evidence.worst_case.sdp import solve

    rule = updates(learning_rate=alpha, beta=beta, lr_scale=1.0, off_set_momentum="reset")
    worst, _ = solve(np.ones((1, 5), dtype=bool), rule, "CLARABEL")
    bound = constants(certificate(plan(alpha=alpha, beta=beta, horizon=5)))[0] / 5
    assert worst * (1 - SOLVERS_AGREE) <= bound <= worst * (1 + SOLVERS_AGREE + GIVEN_UP)


def test_steps_never_leave_the_sublevel_set_by_much():
    """Without noise ‖g‖² ≤ 2LΔ at every step: f + αβ/(2(1−β))‖m‖² does not increase while Lα ≤ 2."""
    transient, _ = constants(certificate(plan(alpha=1.0, beta=0.9, kind="level")))
    assert 2 <= transient <= 2 * (1 + GIVEN_UP)


def test_what_is_the_same_set_gives_the_same_constants():
    full = constants(certificate(plan(alpha=0.3, beta=0.9)))
    for same in (plan(ALL * 2, 0.3, 0.9), plan((Group(None, (True, True)),), 0.3, 0.9, gap=3)):
        found = constants(certificate(same))
        assert found[0] == pytest.approx(full[0], rel=GIVEN_UP)
        assert found[1].max() == pytest.approx(full[1].max(), rel=0.02)
    larger = replace(plan(alpha=0.3, beta=0.9), learning_rate=Fraction(0.3) / 4, smoothness=Fraction(4))
    assert constants(certificate(larger))[0] == pytest.approx(full[0], rel=1e-6)


def test_a_step_that_is_too_large_is_not_certified():
    for beta in (0.0, 0.5, 0.9):
        assert certificate(plan(alpha=0.99 * (1 + beta), beta=beta))
    with pytest.raises(NotCertified, match="no solution"):
        certificate(plan(alpha=2.01, beta=0.0))
    with pytest.raises(NotCertified, match="no solution"):
        certificate(plan((Group(Fraction(0)),), alpha=2.01, beta=0.9))


# --- exact expectations ------------------------------------------------------------------------------------------------

SETS = {
    "full": {"density": 1.0},
    "fixed": {"set": [0]},
    "redrawn": {"density": 0.5, "update_gap": 1},
    "held": {"density": 0.5, "update_gap": 3},
    "nothing off the set": {"density": 0.5, "update_gap": 2, "state_free": "none"},
    "in turn": {"subspace": "blocks", "order": "ascending", "density": 0.5, "update_gap": 3},
}


def experiment(sets, sigma=0.7, alpha=0.4, **rest):
    algorithm = {"state_full": {"rule": "sgdm", "beta": 0.8}, "state_free": "sgd", "subspace": "coordinates"}
    problem = {"kind": "quadratic", "eigenvalues": [1.0, 0.1], "start": "ones", "blocks": 2 if sets == "in turn" else 1}
    noise = {"kind": "gaussian", "sigma": [sigma, 2 * sigma]} if sigma else {"kind": "none"}
    tables = {"algorithm": algorithm | {"learning_rate": alpha} | SETS[sets], "problem": problem, "noise": noise}
    return ft.parse({"name": "certified", **tables, "simulation": {"steps": 40}, **rest})


@pytest.mark.parametrize("sets", SETS)
def test_the_exact_expectation_is_below_the_bound_and_near_it(sets):
    setting, ratios = instance_of(experiment(sets)).setting, []
    theorem = THEOREMS["certified"]
    for sigma in (0.0, 0.7):
        variance = {name: sigma**2 * value / 0.49 for name, value in setting.variance.items()}
        ratios.append(float(np.max(ft.exact(experiment(sets, sigma)).mean / theorem.bound(setting.having(variance=variance)))))
    assert 0.4 < max(ratios) <= 1


@pytest.mark.ecosystem
def test_a_certificate_is_judged_like_any_other_theorem():
    theorem = ft.certify(experiment("redrawn"))
    (verdict,) = ft.verify(experiment("redrawn"), theorems=[theorem])
    assert verdict.status == "holds"
    (other,) = ft.verify(experiment("redrawn", alpha=0.3), theorems=[theorem])
    assert other.status == "not applicable"
    assert "another learning_rate" in other.reason
    (large,) = ft.verify(experiment("fixed", alpha=2.5), theorems=[Certified()])
    assert large.status == "not applicable"
    assert "no solution" in large.reason


def test_a_certificate_is_a_rung_beside_the_others():
    made = experiment("full", sigma=0, alpha=0.02, verify={"theorems": ["certified"]})
    (claims,) = claims_of(made.model_copy(update={"simulation": made.simulation.model_copy(update={"steps": 3})}))
    rungs = bounds(claims)
    assert [rung.name for rung in rungs[:3]] == ["certified", "sgdm_sharp", "run_length_sharp"]
    small = {end: getattr(rungs[0], end) / 100 for end in ("value", "lower", "upper")}
    attained = replace(rungs[0], name="worst_case", aside=False, **small)
    found = {(link.lower, link.upper): link.status for link in _links([attained, *rungs[:2]])}
    assert found[("worst_case", "certified")] == found[("worst_case", "sgdm_sharp")] == "below"
    assert found[("certified", "sgdm_sharp")] == "not comparable"


def test_more_weight_on_noise_buys_a_smaller_noise_constant():
    few, many = (plan(PARTIAL, 0.1, 0.9, auxiliary=True) for _ in range(2))
    few, many = constants(certificate(few, 0.01)), constants(certificate(many, 100.0))
    assert few[0] < 0.9 * many[0]
    assert few[1].sum() > 2 * many[1].sum()


def test_the_contract_of_theorems(quadratic):
    check_theorem(THEOREMS["certified"], [setting_of(quadratic({"algorithm.density": 1.0, "simulation.steps": 24}))])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"algorithm.state_full": "adamw"}, '"adamw", not "sgdm"'),
        ({"algorithm.off_set_momentum": "hold"}, "carries momentum"),
        ({"algorithm.update_gap": 1000}, "repeats after 1000 steps"),
    ],
)
def test_what_is_not_covered(quadratic, overrides, reason):
    assert reason in THEOREMS["certified"].covers(setting_of(quadratic(overrides)))


UNKNOWN_LAWS = {
    "svd": ({"algorithm.subspace": "svd", "problem": {"kind": "matrix"}}, "svd selects by the current stochastic gradient"),
    "a density that changes": ({"algorithm.density_schedule": {"steps": 2, "to": 0.25}}, "theorems speak of one density"),
    "bases that are refreshed in turn": ({"algorithm.subspace": "random", "algorithm.refresh": "staggered"}, "premise P6"),
}


@pytest.mark.parametrize("law", UNKNOWN_LAWS)
def test_a_set_whose_law_is_not_known_is_not_applicable_under_noise(quadratic, law):
    """The premises that a theorem needs are asked for before it is known whether the set is oblivious."""
    keys, reason = UNKNOWN_LAWS[law]
    common = {"problem.blocks": 2, "noise": {"kind": "gaussian", "sigma": 0.1}, "simulation.steps": 4}
    (verdict,) = ft.verify(quadratic(common | {"algorithm.update_gap": 2} | keys), theorems=["certified"])
    assert verdict.status == "not applicable"
    assert reason.lower() in verdict.reason.lower()


def test_noise_in_a_basis_is_bounded_in_total_only(quadratic):
    """P4 bounds variances by coordinate, which says nothing of a direction: one constant for all, and σ² in place of ρσ²."""
    setting = setting_of(quadratic({"algorithm.subspace": "random", "algorithm.update_gap": 2}))
    known = certificate(plan_of(setting), 10.0)
    assert Certified().needs(setting) == ("uncorrelated",)
    setting = setting.having(uncorrelated=False)
    assert Certified().needs(setting) == ()
    found = certificate(plan_of(setting), 10.0)
    assert constants(known)[1][0] < constants(found)[1][0]
    assert refused(sealed(known | {"uncorrelated": False}))
    assert found["basis"] == "turning"
    for step, row in zip(found["steps"], found["noise"], strict=True):
        assert len({*step["noise"].values(), *row}) == 1
    unequal = copy.deepcopy(found)
    unequal["steps"][0]["noise"]["0.out"] = "0"
    with pytest.raises(ValueError, match="step 0: noise"):
        check(sealed(unequal))


# --- the checker -------------------------------------------------------------------------------------------------------

PLANS = {
    "full": plan(alpha=0.7, beta=0.9),
    "fixed": plan(PARTIAL, 0.1, 0.9, auxiliary=True),
    "redrawn": plan(HALF, 0.5, 0.9),
    "held": plan(HALF, 0.5, 0.9, gap=2),
    "turning": plan(HALF, 0.5, 0.9, gap=2, basis="turning"),
    "in turn": plan(IN_TURN, 0.5, 0.9, gap=2),
    "three steps": plan(HALF, 0.5, 0.9, horizon=3),
    "level": plan(HALF, 0.5, 0.9, kind="level"),
}


@pytest.fixture(scope="module")
def certificates():
    return {name: certificate(wanted) for name, wanted in PLANS.items()}


def numbers(table, path=()):
    """The paths of all fractions in a certificate."""
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, value in items:
        if isinstance(value, str) and key not in ("digest", "kind", "basis"):
            yield (*path, key)
        yield from numbers(value, (*path, key))


def altered(found, path, change):
    made = copy.deepcopy(found)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = change(at[path[-1]])
    return made


def refused(found):
    try:
        check(found)
    except (ValueError, LookupError, TypeError, AttributeError):
        return True
    return False


@pytest.mark.parametrize("name", PLANS)
def test_a_certificate_with_any_number_altered_is_refused(certificates, name):
    found = certificates[name]
    assert not refused(found)
    paths = list(numbers(found))
    assert len(paths) > 15
    for path in paths:
        assert refused(altered(found, path, lambda text: str(Fraction(text) + Fraction(1, 10**9)))), path


@pytest.mark.parametrize("name", PLANS)
def test_a_forged_certificate_is_refused(certificates, name):
    """With a new digest: the claims made better by 2 %, multipliers changed at all, V changed by more than it can bear."""
    found = certificates[name]
    paths = list(numbers(found))
    better = [path for path in paths if path[0] in ("transient", "noise")]
    linear = [path for path in paths if "multipliers" in path or path[0] in ("start", "positive") or path[-1] in ("f", "fz")]
    forms = [path for path in paths if path[0] == "states" and path[-1] not in ("f", "fz")]
    for chosen, change in (
        (better, lambda text: str(Fraction(text) * Fraction(98, 100))),
        (linear, lambda text: str(Fraction(text) + Fraction(1, 10**9))),
        (forms, lambda text: str(Fraction(text) - 100)),
        ([("smoothness",), ("learning_rate",)], lambda text: str(Fraction(text) * 4)),
        ([("beta",)], lambda _: "99/100"),
    ):
        assert chosen
        for path in chosen:
            assert refused(sealed(altered(found, path, change))), path


def test_a_forged_configuration_is_refused(certificates):
    redrawn, held = certificates["redrawn"], certificates["held"]
    for made in (
        redrawn | {"classes": [{"share": "1/4"}]},
        redrawn | {"classes": [{"share": "3/2"}]},
        redrawn | {"classes": [{"share": "1/2"}, {"share": "1"}]},
        redrawn | {"off_set_scale": "2"},
        redrawn | {"horizon": 1},
        redrawn | {"update_gap": 2},
        redrawn | {"auxiliary": "1/2"},
        held | {"update_gap": 1},
        held | {"basis": "turning"},
        certificates["three steps"] | {"horizon": 4},
        certificates["three steps"] | {"horizon": None},
        certificates["fixed"] | {"auxiliary": None},
        certificates["in turn"] | {"classes": [{"schedule": [1, 1]}, {"schedule": [0, 1]}]},
        certificates["level"] | {"kind": "average"},
    ):
        assert refused(sealed(made)), {key: made[key] for key in ("classes", "horizon", "update_gap", "kind")}
    missing = copy.deepcopy(redrawn)
    del missing["steps"][0]["noise"]["0.out"]
    assert refused(sealed(missing))


def test_a_word_that_is_true_for_python_does_not_make_noise_uncorrelated():
    """ "no" passed for yes: unequal noise constants in a turning basis were accepted."""
    found = certificate(plan(HALF, 0.3, 0.9, gap=2, basis="turning", uncorrelated=True))
    assert "if noise coordinates are uncorrelated" in check(found)
    assert "uncorrelated" not in check(certificate(PLANS["turning"]))
    for said in (False, "no", "false", 1, None):
        assert refused(sealed(found | {"uncorrelated": said}))


def test_a_theorem_is_made_of_certificates_that_prove_something(certificates):
    """A forged claim was judged as if it were proved."""
    found = certificates["full"]
    assert CertifiedFor([found]).text
    for forged in (found | {"transient": "1"}, sealed(found | {"noise": [["0"]]})):
        with pytest.raises(ValueError, match=r"altered|too small"):
            CertifiedFor([forged])


def test_a_form_that_is_negative_somewhere_is_refused():
    m, g = checker.m, checker.g
    checker.semidefinite(m**2 - 2 * m * g + g**2, "a square")
    checker.semidefinite(checker.ZERO, "nothing")
    for form in (m**2 - g**2, m * g, m**2 - 3 * m * g + 2 * g**2, -(g**2), m + g**2, g**2 - 1):
        with pytest.raises(ValueError, match="form"):
            checker.semidefinite(form, "this")


def test_the_checker_is_a_short_program_that_needs_sympy_alone(certificates, tmp_path):
    path = Path(checker.__file__)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"hashlib", "json", "sys", "typing", "sympy"}
    alone, file = tmp_path / "checker.py", tmp_path / "certificate.json"
    alone.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    false = certificates["full"] | {"transient": "1"}
    for content, status, said in (
        ([certificates["full"], certificates["redrawn"]], 0, "proved: avg E‖∇f‖² ≤"),
        ([certificates["full"], sealed(false)], 1, "NOT PROVED"),
    ):
        file.write_text(json.dumps({"certificates": content}), encoding="utf-8")
        ran = subprocess.run([sys.executable, "-I", str(alone), str(file)], capture_output=True, text=True, check=False)
        assert ran.returncode == status
        assert said in ran.stdout + ran.stderr
    assert "frugal" not in "\n".join(lines[20:])


def test_linear_equations_hold_exactly_whatever_is_rounded():
    program = Program()
    x, y, z = (program.unknown(letter) for letter in "xyz")
    program.equations += [{x: Fraction(1), y: Fraction(2), None: Fraction(-1)}, {y: Fraction(3), z: Fraction(1)}]
    program.block({"g": 1.0}).add(None, {("g", "g"): 1.0})
    reduced = program.reduced()
    (free,) = reduced.free
    values = reduced.rounded(np.array([1 / 3]), 6)
    assert values[(("x", "y", "z")[free],)] == Fraction(333333, 10**6)
    assert values[("x",)] + 2 * values[("y",)] == 1
    assert 3 * values[("y",)] + values[("z",)] == 0


# --- command -----------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_file_that_the_checker_accepts(experiment_file, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from frugal_theory.commands.main import app

    monkeypatch.chdir(tmp_path)
    path, out = experiment_file(overrides={"algorithm.density": 1.0}), tmp_path / "c.json"
    found = CliRunner().invoke(app, ["certify", str(path), "--out", str(out), "--horizon", "2", "--trade", "1"])
    assert found.exit_code == 0, found.output
    written = json.loads(out.read_text())["certificates"]
    assert [(one["kind"], one["horizon"]) for one in written] == [("average", None), ("level", None), ("average", 2)]
    for one in written:
        check(one)
    setting = instance_of(ft.load(path)).setting
    assert Fraction(written[0]["learning_rate"]) == Fraction(setting.alpha)
    failed = CliRunner().invoke(app, ["certify", str(path), "--set", "algorithm.learning_rate=9.0"])
    assert failed.exit_code == 1
    assert "not certified" in failed.output
