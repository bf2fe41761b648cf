"""Principal angles between the leading subspaces of a gradient at different times (the paper's figure 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Angles", "leading_basis", "principal_cosines"]

DENSITY = 0.25
"""The share of directions that counts as leading where the algorithm's density does not say it (0 or 1)."""


class Angles:
    """For every matrix the r leading left (or right, of the shorter side) singular vectors of the mini-batch gradient, r the
    density's share, held against those of the measurement before and of the first of this process.

    By tensor: ``cosine``, the mean cosine of the r principal angles to the subspace before, with ``least`` and ``largest``;
    ``first``, likewise to the first one; ``inside``, the share of the gradient's energy in the subspace before: what a
    projection onto it keeps, ``leak`` the share of the energy outside the present subspace that lies in the one before.
    ``random``: r/n, the mean squared cosine of unrelated subspaces. ``steps``: since the one before.
    """

    group = "angles"
    price = 1.0
    rows = False

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def forget(self) -> None:
        """Begin anew: the next measurement is the first."""
        self._seen.clear()

    def measure(self, moment: Moment) -> dict[str, float]:
        """Of the step's mini-batch gradient."""
        density = moment.density if 0 < moment.density < 1 else DENSITY
        seen = self._seen.get(id(moment.model))
        if seen is None or seen.step >= moment.step:  # another run, or the same one taken up from before
            self._seen.clear()
            seen = self._seen[id(moment.model)] = _Seen(moment.step)
        numbers: dict[str, float] = {}
        cosines, kept = [], []
        for name, gradient in moment.gradients.items():
            if gradient.dim() != 2 or min(gradient.shape) < 2:
                continue
            wide = gradient.double() if gradient.shape[0] <= gradient.shape[1] else gradient.double().T
            rank = max(1, math.ceil(density * wide.shape[0] - 0.5))
            basis = leading_basis(wide, rank)
            if name in seen.before:
                before = seen.before[name]
                cosine = principal_cosines(before, basis)
                energy = float(wide.square().sum())
                inside = float((before.T @ wide).square().sum()) / energy if energy else math.nan
                outside = wide - basis @ (basis.T @ wide)
                rest = float(outside.square().sum())
                leak = float((before.T @ outside).square().sum()) / rest if rest else math.nan
                first = principal_cosines(seen.first[name], basis)
                numbers |= {
                    f"cosine of {name}": float(cosine.mean()),
                    f"least of {name}": float(cosine.min()),
                    f"largest of {name}": float(cosine.max()),
                    f"first of {name}": float(first.mean()),
                    f"inside of {name}": inside,
                    f"leak of {name}": leak,
                    f"random of {name}": rank / wide.shape[0],
                }
                cosines.append(float(cosine.mean()))
                kept.append(inside)
            seen.before[name] = basis
            seen.first.setdefault(name, basis)
        if cosines:
            numbers |= {
                "cosine": math.fsum(cosines) / len(cosines),
                "inside": math.fsum(kept) / len(kept),
                "steps": float(moment.step - seen.step),
            }
        seen.step = moment.step
        return numbers


@dataclass
class _Seen:
    step: int
    before: dict[str, Tensor] = field(default_factory=dict)
    first: dict[str, Tensor] = field(default_factory=dict)


def leading_basis(wide: Tensor, rank: int) -> Tensor:
    """The ``rank`` leading left singular vectors of a matrix with no more rows than columns: shape (rows, rank)."""
    return torch.linalg.eigh(wide @ wide.T).eigenvectors[:, -rank:]


def principal_cosines(one: Tensor, other: Tensor) -> Tensor:
    """Cosines of the principal angles between the spans of two orthonormal bases: the singular values of ``one``ᵀ``other``."""
    return torch.linalg.svdvals(one.T @ other).clamp(0.0, 1.0)


PROBE = Angles()
