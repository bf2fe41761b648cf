"""Certify: a proof of a bound for one experiment's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from frugal_theory.certificates import certificate
from frugal_theory.certificates.program import available
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, takes_a_file
from frugal_theory.instance import instance_of
from frugal_theory.theorems import Setting
from frugal_theory.theorems.certified import HORIZONS, CertifiedFor, plan_of, short_runs, variances

__all__ = ["certify"]

LEAST_TRADE, LARGEST_TRADE = 1e-3, 1e3


@takes_a_file
def certify(experiment: Experiment, *, trade: float | None = None, horizons: Sequence[int] = HORIZONS) -> CertifiedFor:
    """A bound on avg E‖gᵏ‖², proved for the experiment's α, β, L and law of the momentum set, as a theorem.

    Its certificates are one for every K, one for E‖gᵏ‖² of every step, and one for K = N for every N in ``horizons``; ``save``
    writes them to a file.
    ``trade`` weighs the noise constant n against the transient one C: αL·C + trade·n/(αL) is minimised. By default the bound
    is smallest for the experiment's Δ, variances and last step. Raises ExperimentError for an algorithm that no certificate
    can speak of, or where the solver is not installed, and :class:`NotCertified`, a ValueError, where none is found.

    >>> import frugal_theory as ft
    >>> sgdm = {"density": 1.0, "state_full": {"rule": "sgdm", "beta": 0.5}, "state_free": "sgd", "learning_rate": 0.5}
    >>> experiment = ft.parse({"name": "certified", "algorithm": sgdm, "problem": {"kind": "quadratic", "dimension": 4}})
    >>> theorem = ft.certify(experiment, trade=1.0, horizons=())
    >>> theorem.name, len(theorem.certificates(ft.instance_of(experiment).setting))
    ('certified', 2)
    """
    if not available():
        raise ExperimentError('certificates need clarabel: pip install "frugal-lab[worst-case]"')
    setting = instance_of(experiment).setting
    try:
        plan = plan_of(setting)
    except ValueError as error:
        raise ExperimentError(f"{experiment.name}: nothing can be certified: {error}") from None
    noise = np.array(variances(setting))
    if noise.sum() > 0:
        shares = noise / noise.sum()
        plan = replace(plan, groups=tuple(replace(g, weight=float(w)) for g, w in zip(plan.groups, shares, strict=True)))
    weight = _trade(setting) if trade is None else trade
    return CertifiedFor([certificate(plan, weight), *short_runs(plan, horizons, weight)])


def _trade(setting: Setting) -> float:
    """The weight with which the bound at the last step is minimised: C LΔ/K + nσ² is LΔ/(Ka) times aC + (Ka²σ²/LΔ)·n/a."""
    a, start = setting.alpha * setting.smoothness, setting.smoothness * setting.gap
    if start == 0:
        return LARGEST_TRADE
    return float(np.clip(setting.steps * a**2 * setting.total_variance / start, LEAST_TRADE, LARGEST_TRADE))
