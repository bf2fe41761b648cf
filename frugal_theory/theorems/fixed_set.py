"""Corollary of the run-length theorem: a momentum set that never changes."""

from __future__ import annotations

from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.setting import Setting
from frugal_theory.theorems.theorem import named_free

__all__ = ["FixedSet"]


class FixedSet(RunLength):
    """J_k = J for all k: nothing leaks, W = 1, and the run-length theorem bounds the plain norm::

        avg E‖gᵏ‖² ≤ [ Δ/(Kα) + (Lα/2)( σ² + (√2 β/(1+β)) Σ_{j∈J} σ_j² ) ] / (1 − Lα(1/2 + √2 β/(1−β)))

    No factor 1/(1−β) multiplies the noise. J is any fixed set of coordinates or of orthogonal directions (subspace
    "eigen"). There Σ_{j∈J}σ_j² is tr(ΠΣ): Σ_j Π_jj σ_j² if noise coordinates are uncorrelated, and at most σ² whatever
    they are. J = ∅ is SGD, J = [d] is SGDM.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("fixed_set", (1.0, 0.5), set=[0], subspace="coordinates")
    (0.647, 0.937)
    """

    name = "fixed_set"
    title = "Corollary: a fixed momentum set"
    short_name = "run-length, fixed set"
    label = "fixed set"
    statement = (
        "avg E‖gᵏ‖² ≤ [Δ/(Kα) + (Lα/2)(σ² + √2β/(1+β) Σ_{j∈J}σ_j²)] / (1 − Lα(1/2 + √2β/(1−β)))"
        "   for J_k = J, Lα(1/2 + √2β/(1−β)) < 1"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{\frac{\Delta}{K\alpha}+\frac{L\alpha}{2}\Bigl(\sigma^2"
        r"+\frac{\sqrt{2}\beta}{1+\beta}\sum_{j\in J}\sigma_j^2\Bigr)}{1-L\alpha\Bigl(\frac{1}{2}"
        r"+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)}"
        "\n"
        r"\text{for }J_k=J,\quad L\alpha\Bigl(\frac{1}{2}+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)<1"
    )
    premises = "P1–P5 (the selection is fixed); on a basis uncorrelated noise coordinates, or else σ² for tr(ΠΣ)"
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """A set that never changes; off it SGD with the step α itself."""
        runs, free = setting.runs, setting.algorithm.state_free
        if runs is not None and runs.law != "fixed":
            return "the momentum set changes"
        if runs is not None and not runs.full and (free.rule != "sgd" or free.lr_scale != 1):
            return f'the state-free rule is {named_free(setting)}, not "sgd" with 1'
        return super().covers(setting)
