"""The SymPy derivations: true as they stand, false with any sign or constant changed."""

from __future__ import annotations

import pytest
import sympy as sp
from typer.testing import CliRunner

from frugal_theory import proofs
from frugal_theory.commands.main import app
from frugal_theory.proofs import lyapunov
from frugal_theory.proofs.proof import BETA, Proof, equal, positive, sums_to

A, R, P = sp.Symbol("a", positive=True), sp.Symbol("r", positive=True), sp.Symbol("p", positive=True)
N = sp.Symbol("n", integer=True, nonnegative=True)
ALPHA, LAMBDA, SIGMA = sp.symbols("alpha lambda sigma", positive=True)
LAG = A * BETA / (1 - BETA)
M, G = sp.symbols("m g", real=True)
THETA = sp.Symbol("theta", positive=True)
HELD, FADED = sp.symbols("held w", positive=True)
FIRST, SECOND = sp.symbols("beta_1 beta_2", positive=True)
RADIUS, KAPPA = sp.symbols("r kappa", positive=True)


@pytest.fixture(scope="module")
def found() -> list[Proof]:
    return proofs.prove_all()


@pytest.mark.ecosystem
def test_every_derivation_goes_through(found):
    assert {proof.name: proof.failed for proof in found if not proof.checked} == {}
    assert len({proof.name for proof in found}) == len(found) == len(proofs.PROOFS)
    assert all(proof.statement for proof in found)


PLANTED = [
    (proofs.prove_z_recursion, {"shift": -BETA / (1 - BETA)}, "stays_in"),
    (proofs.prove_z_recursion, {"shift": BETA / (1 + BETA)}, "stays_in"),
    (proofs.prove_z_recursion, {"weight": 1 + BETA**R}, "leaves"),
    (proofs.prove_z_recursion, {"weight": 1 - BETA ** (R - 1)}, "leaves"),
    (proofs.prove_geometric_sums, {"mean": 1 + BETA**N}, "mean"),
    (proofs.prove_geometric_sums, {"variance": (1 - BETA) / (1 + BETA) * (1 + BETA ** (2 * N))}, "variance"),
    (proofs.prove_geometric_sums, {"variance": (1 + BETA) / (1 - BETA) * (1 - BETA ** (2 * N))}, "variance"),
    (proofs.prove_geometric_sums, {"step_by_step": (1 + BETA) * (1 - BETA**N)}, "step_by_step"),
    (
        proofs.prove_momentum_second_moment,
        {"split": (THETA - BETA**2) * (M + BETA * (1 - BETA) / (THETA - BETA**2) * G) ** 2},
        "completed_square",
    ),
    (proofs.prove_momentum_second_moment, {"gain": (1 - BETA) ** 2 * THETA / ((THETA + BETA**2) * (1 - THETA))}, "least_gain"),
    (proofs.prove_optimal_eta, {"eta": -sp.sqrt(2) * LAG}, "minimum"),
    (proofs.prove_optimal_eta, {"eta": LAG}, "stationary"),
    (proofs.prove_optimal_eta, {"loss": -sp.sqrt(2) * LAG}, "minimum"),
    (proofs.prove_optimal_eta, {"noise": sp.sqrt(2) * BETA / (1 - BETA)}, "noise"),
    (proofs.prove_published_step_implies_ours, {"published": (1 + BETA) / (4 - BETA + BETA**2)}, "run_length"),
    (proofs.prove_published_step_implies_ours, {"published": (1 - BETA) / (4 - BETA - 3 * BETA**2)}, "hybrid"),
    (proofs.prove_against_liu_et_al, {"transient": "0.773"}, "transient"),
    (proofs.prove_against_liu_et_al, {"noise": "0.697"}, "noise"),
    (proofs.prove_against_liu_et_al, {"noise": "-0.698"}, "noise"),
    (proofs.prove_sharp_constants, {"loss": A * (1 - BETA) / (2 * (1 + BETA))}, "loss"),
    (proofs.prove_sharp_constants, {"noise": -BETA}, "noise"),
    (proofs.prove_sharp_constants, {"transient": "0.666"}, "transient"),
    (proofs.prove_sharp_constants, {"noise_ratio": "0.669"}, "noise_ratio"),
    (proofs.prove_run_length_moments, {"omega": 1 + P * BETA * (1 - P) / (1 - P * BETA)}, "mean"),
    (proofs.prove_run_length_moments, {"omega": 1 - P * BETA * (1 - P) / (1 + P * BETA)}, "mean"),
    (
        proofs.prove_run_length_moments,
        {"square": 1 - 2 * (1 - P) * BETA / (1 - P * BETA) - (1 - P) * BETA**2 / (1 - P * BETA**2)},
        "square",
    ),
    (proofs.prove_short_run_limit, {"limit": P * (1 - P) / (1 - P) ** 2}, "limit"),
    (proofs.prove_short_run_limit, {"limit": -P * (1 + P) / (1 - P) ** 2}, "never_above"),
    (proofs.prove_sign_loss, {"general": sp.Rational(99, 100)}, "cantelli"),
    (proofs.prove_sign_loss, {"unimodal": -sp.sqrt(3) / 4}, "gauss_far"),
    (proofs.prove_sign_loss, {"unimodal": sp.sqrt(3) / 5}, "gauss_near"),
    (proofs.prove_hybrid_balance, {"loss": sp.Rational(1, 2) - 2 * BETA / (1 - BETA)}, "loss"),
    (proofs.prove_hybrid_balance, {"noise": (1 - 3 * BETA) / (1 + BETA)}, "noise"),
    (proofs.prove_hybrid_balance, {"count": (1 - BETA) / (1 + BETA)}, "count"),
    (proofs.prove_hybrid_balance, {"sharp_count": 1 / (1 + BETA)}, "sharp_count"),
    (proofs.prove_hybrid_balance, {"kept": sp.Symbol("g", positive=True) * (1 + 2 * sp.Symbol("P", positive=True))}, "sign"),
    (
        proofs.prove_stationary_form,
        {"momentum": ALPHA * LAMBDA * SIGMA**2 * (1 + BETA) / (2 * (1 + BETA) + ALPHA * LAMBDA * (1 - BETA))},
        "momentum",
    ),
    (proofs.prove_stationary_form, {"plain": ALPHA * LAMBDA * SIGMA**2 / (2 + ALPHA * LAMBDA)}, "plain"),
    (proofs.prove_interpolated_rate, {"lower": (1 - RADIUS) * (1 + BETA / RADIUS)}, "lower"),
    (proofs.prove_interpolated_rate, {"upper": (1 + RADIUS) * (1 - BETA / RADIUS)}, "upper"),
    (proofs.prove_growth, {"step": -sp.Symbol("e", positive=True)}, "step"),
    (proofs.prove_growth, {"least": 2 / sp.Symbol("Q", positive=True)}, "least"),
    (proofs.prove_growth, {"total": (1 + BETA**N) / (1 - BETA)}, "total"),
    (proofs.prove_adaptive_loss, {"gap": 0}, "gap"),
    (proofs.prove_adaptive_loss, {"mixed": sp.Symbol("p", positive=True) + sp.Symbol("q", positive=True)}, "concave"),
    (proofs.prove_adaptive_loss, {"root": sp.Symbol("A", positive=True) + sp.Symbol("N", positive=True)}, "root"),
    (proofs.prove_lags, {"tail": 0}, "tail"),
    (proofs.prove_lags, {"reach": 1 / (1 - sp.Symbol("beta_1", positive=True))}, "reach"),
    (proofs.prove_lags, {"early": sp.Symbol("x", positive=True)}, "early"),
    (proofs.prove_lags, {"missed": 0}, "missed"),
    (proofs.prove_lion_age, {"kept": 1 - FIRST * SECOND ** (N + 1)}, "kept"),
    (proofs.prove_lion_age, {"past": (1 - SECOND) / (1 + SECOND) * (1 - SECOND**N)}, "past"),
    (proofs.prove_lion_age, {"lag": (1 - SECOND**N) / (1 - SECOND)}, "lag"),
    (proofs.prove_lion_age, {"loss": 0}, "loss"),
    (proofs.prove_median_sign, {"kept": sp.Symbol("g", positive=True)}, "kept"),
    (proofs.prove_median_sign, {"chord": 0}, "chord"),
    (proofs.prove_interpolated_rate, {"mixed": (sp.sqrt(1 + 8 * KAPPA) + 1) / (2 * KAPPA)}, "mixed"),
    (proofs.prove_sgdm_descent, {"descent": ALPHA * lyapunov.ROOM}, "entries"),
    (proofs.prove_sgdm_descent, {"kick": ALPHA**2 / 2}, "entries_of_noise"),
    (proofs.prove_sgdm_descent, {"slack": -lyapunov.SLACK}, "square"),
    (
        proofs.prove_sgdm_lyapunov_function,
        {"multiplier": BETA * (1 + BETA + ALPHA) / (2 * ALPHA * BETA + 1 - BETA**2)},
        "multiplier",
    ),
    (proofs.prove_sgdm_lyapunov_function, {"positivity": lyapunov.A**2 - 2 * lyapunov.P}, "above_zero"),
    (proofs.prove_sgdm_lyapunov_function, {"last": 1 + BETA**2}, "last_step"),
    (proofs.prove_sgdm_energy, {"weight": ALPHA * BETA / (2 * (1 + BETA))}, "identity"),
    (proofs.prove_sgdm_energy, {"kick": (1 - BETA) * (BETA - (1 - BETA) * ALPHA) * ALPHA / 2}, "kick"),
    (proofs.prove_sgdm_linear_rate, {"rate": HELD * FADED / (HELD * sp.Symbol("B", positive=True))}, "singular"),
    (proofs.prove_sgdm_linear_rate, {"kick": ALPHA * (1 - BETA) * (1 + BETA / 2)}, "kick"),
    (proofs.prove_sgdm_decreasing_steps, {"slope": BETA / (1 + BETA)}, "slope"),
    (proofs.prove_sgdm_against_others, {"loss": ALPHA * (1 - BETA) / (2 * (1 + BETA))}, "transient_below"),
    (proofs.prove_sgdm_against_others, {"transient": "0.624"}, "transient"),
    (proofs.prove_sgdm_against_others, {"noise": "0.571"}, "noise"),
    (proofs.prove_svd_selection, {"best": sp.Symbol("phi", positive=True)}, "root"),
    (proofs.prove_svd_selection, {"floor": sp.Symbol("M") / (sp.Symbol("c") * sp.Symbol("phi")) - 1}, "floor"),
    (proofs.prove_svd_selection, {"limit": 1 / sp.Symbol("rho", positive=True)}, "limit"),
    (proofs.prove_svd_selection, {"least": sp.Symbol("w", positive=True) * sp.Symbol("rho", positive=True)}, "weight"),
]


@pytest.mark.parametrize(("prove", "claim", "part"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_error_is_found_where_it_is(prove, claim, part):
    proof = prove(**claim)
    assert not proof.checked
    assert part in proof.failed


def test_every_claim_of_every_derivation_is_attacked():
    import inspect

    attacked = {(prove.__name__, name) for prove, claim, _ in PLANTED for name in claim}
    claims = {(prove.__name__, name) for prove in proofs.PROOFS for name in inspect.signature(prove).parameters}
    assert claims == attacked


def test_positivity_is_decided_by_roots():
    assert positive(BETA**2 - BETA + sp.Rational(1, 2))
    assert positive(1 - BETA)  # 0 at the open end only
    assert not positive(BETA)  # 0 at the closed end
    assert not positive((BETA - sp.Rational(1, 3)) ** 2)  # touches 0
    assert not positive(-1 - BETA)
    assert not positive(1 / (BETA - sp.Rational(1, 2)) ** 2)  # a pole
    assert not positive(sp.Integer(0) * BETA)


def test_sums_and_equalities_are_not_taken_on_trust():
    assert sums_to(N, N * (N - 1) / 2, N)
    assert not sums_to(N, N * (N + 1) / 2, N)
    assert not sums_to(N, N * (N - 1) / 2 + 1, N)
    assert equal((1 - BETA**2) / (1 - BETA), 1 + BETA)
    assert not equal(BETA, -BETA)


@pytest.mark.ecosystem
def test_the_command_prints_every_proof(monkeypatch, found):
    monkeypatch.setattr(proofs, "prove_all", lambda: found)
    result = CliRunner().invoke(app, ["proofs"])
    assert result.exit_code == 0
    assert result.output.count("✓") == len(proofs.PROOFS)


def test_the_command_fails_with_a_proof(monkeypatch):
    monkeypatch.setattr(proofs, "prove_all", lambda: [Proof("broken", "0 = 1", ("part",))])
    result = CliRunner().invoke(app, ["proofs"])
    assert result.exit_code == 1
    assert "not derived: part" in result.output
