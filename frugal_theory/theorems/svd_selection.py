"""Selection by the singular vectors of the stochastic gradient itself: what can be proved although premise P6 fails."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.algorithm.subspaces import directions, matrix_of
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown, named_free

__all__ = ["SvdSelection"]


class Weights(NamedTuple):
    """``least``: c, with which at least a stochastic gradient is applied along itself. ``most``: M, the largest weight."""

    least: float
    most: float


class SvdSelection(Shown):
    """GaLore's selection with T = 1: Π_k projects onto the r leading singular vectors of each g̃ᵏ, w = 1 − β is the weight on
    the set, s = ``lr_scale`` that off it (0 for the rule "none"). With ρ = min r/min(m, n) over the parameters, M = max(w, s),
    c = min(w, s + (w − s)ρ) and φ₀ = 1 − LαM/2 > 0, for every 0 < η < 2φ₀::

        avg E‖gᵏ‖² ≤ [ Δ/(Kα) + Mσ²/(2η) ] / (c(φ₀ − η/2)) − σ²

    The best η is taken for every K; for K → ∞ it is φ₀ and leaves σ²(M/(cφ₀²) − 1), without noise it is 0 and leaves
    Δ/(Kαcφ₀). For s = 0, w = 1 the floor tends to σ²(1/ρ − 1) as α → 0. It does *not* vanish, and cannot: the instance of
    ``simulations/svd_counterexample.py`` attains it. Larger batches, or s > 0, lower it. P6 is not needed; P3 and P4 are.
    Proved in ``docs/theory/svd.md``.

    >>> import frugal_theory as ft
    >>> algorithm = {"subspace": "svd", "density": 0.5, "update_gap": 1, "state_full": "sgdm", "state_free": "none"}
    >>> tables = {"algorithm": algorithm | {"learning_rate": 1.0}, "noise": {"kind": "none"}}
    >>> matrix = {"kind": "matrix", "rows": 2, "columns": 2, "condition": 1.0}
    >>> experiment = ft.parse({"name": "svd", "problem": matrix, "simulation": {"steps": 50, "trials": 64}, **tables})
    >>> (found,) = ft.verify(experiment, theorems=[ft.THEOREMS["svd_selection"]])
    >>> found.status, round(found.measured / found.bound, 2)
    ('holds', 0.69)
    """

    name = "svd_selection"
    title = "Selection by svd of the stochastic gradient"
    short_name = "svd selection"
    source = "proved here (docs/theory/svd.md); that no floor of 0 is possible: after He et al. 2024 (GoLore), as remembered"
    statement = (
        "avg E‖gᵏ‖² ≤ [Δ/(Kα) + Mσ²/(2η)] / (c(φ₀ − η/2)) − σ²   for T = 1, every η < 2φ₀, φ₀ = 1 − LαM/2 > 0; "
        "w = 1 − β, M = max(w, s), c = min(w, s + (w−s)ρ)"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{M\sigma^2}{2\eta}}{c\Bigl(\varphi_0-\frac{\eta}{2}\Bigr)}-\sigma^2"
        "\n"
        r"\text{for }T=1,\text{ every }\eta<2\varphi_0,\quad\varphi_0=1-\frac{L\alpha M}{2}>0;"
        "\n"
        r"w=1-\beta,\quad M=\max(w,s),\quad c=\min(w,s+(w-s)\rho)"
    )
    premises = "P1–P4 with the noise of each step given the past; not P6: the set depends on the noise"
    explicit = True
    metric = "squared_gradient_norm"
    spares = ("P6",)

    def covers(self, setting: Setting) -> str | None:
        """SGD, or SGDM whose momentum is thrown away at every step, on the leading vectors; SGD or nothing off them."""
        algorithm = setting.algorithm
        full, free = algorithm.state_full, algorithm.state_free
        if algorithm.weight_decay:
            return f"weight_decay = {algorithm.weight_decay:g} changes the objective"
        if algorithm.subspace != "svd" or setting.runs is not None:
            return "the set is not chosen by svd of the gradient"
        if algorithm.update_gap != 1:
            return f"a set is held for T = {algorithm.update_gap} steps, and it speaks of T = 1"
        if not isinstance(full, Sgdm):
            return f'the state-full rule is "{full.rule}", not "sgdm"'
        if free.rule not in ("sgd", "none") or (free.rule == "sgd" and free.lr_scale > 1):
            return f'the state-free rule is {named_free(setting)}, not "sgd" with at most 1, or "none"'
        if full.beta > 0 and algorithm.on_update != "reset":
            return f'on_update = "{algorithm.on_update}" carries momentum into a new basis; only "reset" is covered'
        if full.beta > 0 and any(_share(setting, shape) == 1 for shape in setting.shapes.values()):
            return "a parameter is in the set as a whole, and keeps its momentum"
        return None

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """2/(LM), itself not admitted."""
        most = _weights(setting).most
        return (2 / (setting.smoothness * most) if most > 0 else math.inf), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        weights, variance = _weights(setting), setting.total_variance
        room = 1 - setting.smoothness * setting.alpha * weights.most / 2
        transient, noise = setting.gap / (setting.horizons * setting.alpha), weights.most * variance / 2
        if noise == 0:
            return np.asarray(transient / (weights.least * room))
        root = np.sqrt(noise**2 + 2 * transient * noise * room)
        eta = 2 * noise * room / (noise + root)  # the root of Aη²/2 + Bη = Bφ₀, without cancellation
        return np.asarray((transient + noise / eta) / (weights.least * (room - eta / 2)) - variance)


def _weights(setting: Setting) -> Weights:
    algorithm = setting.algorithm
    inside = 1 - algorithm.state_full.beta
    outside = 0.0 if algorithm.state_free.rule == "none" else algorithm.state_free.lr_scale
    share = min(_share(setting, shape) for shape in setting.shapes.values())
    return Weights(min(inside, outside + (inside - outside) * share), max(inside, outside))


def _share(setting: Setting, shape: tuple[int, ...]) -> float:
    """r/min(m, n); 1 for a vector, which is in the set as a whole."""
    shape = matrix_of(shape, setting.algorithm.experts)
    return 1.0 if len(shape) < 2 else directions(setting.algorithm, shape)[2] / min(shape)
