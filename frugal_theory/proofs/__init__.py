"""SymPy derivations of every identity and inequality that the proofs in ``docs/theory/`` rest on.

Each ``prove_…`` function takes the claims as keywords, by default those of the page, and returns a :class:`Proof`. A
claim that is false, by a sign or a constant, gives ``checked = False``. Nothing is sampled: equalities simplify to 0,
sums are proved by induction, and inequalities reduce to polynomials without a real root where they must not have one.
"""

from collections.abc import Callable

from frugal_theory.proofs.adaptive import (
    prove_adaptive_loss,
    prove_growth,
    prove_lags,
    prove_lion_age,
    prove_median_sign,
)
from frugal_theory.proofs.constants import (
    prove_against_liu_et_al,
    prove_optimal_eta,
    prove_published_step_implies_ours,
    prove_sharp_constants,
)
from frugal_theory.proofs.lyapunov import (
    prove_sgdm_against_others,
    prove_sgdm_decreasing_steps,
    prove_sgdm_descent,
    prove_sgdm_energy,
    prove_sgdm_linear_rate,
    prove_sgdm_lyapunov_function,
)
from frugal_theory.proofs.momentum import (
    prove_geometric_sums,
    prove_momentum_second_moment,
    prove_run_length_moments,
    prove_short_run_limit,
    prove_z_recursion,
)
from frugal_theory.proofs.proof import Proof
from frugal_theory.proofs.quadratics import prove_interpolated_rate, prove_stationary_form
from frugal_theory.proofs.selection import prove_svd_selection
from frugal_theory.proofs.signs import prove_hybrid_balance, prove_sign_loss

__all__ = [
    "PROOFS",
    "Proof",
    "prove_adaptive_loss",
    "prove_against_liu_et_al",
    "prove_all",
    "prove_geometric_sums",
    "prove_growth",
    "prove_hybrid_balance",
    "prove_interpolated_rate",
    "prove_lags",
    "prove_lion_age",
    "prove_median_sign",
    "prove_momentum_second_moment",
    "prove_optimal_eta",
    "prove_published_step_implies_ours",
    "prove_run_length_moments",
    "prove_sgdm_against_others",
    "prove_sgdm_decreasing_steps",
    "prove_sgdm_descent",
    "prove_sgdm_energy",
    "prove_sgdm_linear_rate",
    "prove_sgdm_lyapunov_function",
    "prove_sharp_constants",
    "prove_short_run_limit",
    "prove_sign_loss",
    "prove_stationary_form",
    "prove_svd_selection",
    "prove_z_recursion",
]

PROOFS: tuple[Callable[[], Proof], ...] = (
    prove_z_recursion,
    prove_geometric_sums,
    prove_momentum_second_moment,
    prove_optimal_eta,
    prove_published_step_implies_ours,
    prove_against_liu_et_al,
    prove_run_length_moments,
    prove_sharp_constants,
    prove_short_run_limit,
    prove_sign_loss,
    prove_hybrid_balance,
    prove_stationary_form,
    prove_interpolated_rate,
    prove_sgdm_descent,
    prove_sgdm_lyapunov_function,
    prove_sgdm_energy,
    prove_sgdm_against_others,
    prove_sgdm_linear_rate,
    prove_sgdm_decreasing_steps,
    prove_svd_selection,
    prove_growth,
    prove_adaptive_loss,
    prove_lags,
    prove_lion_age,
    prove_median_sign,
)
"""Every derivation, in the order of the pages of ``docs/theory/``."""


def prove_all() -> list[Proof]:
    """All of them, with the claims of ``docs/theory/``."""
    return [prove() for prove in PROOFS]
