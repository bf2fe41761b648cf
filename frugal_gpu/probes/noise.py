"""The noise of the training step's gradient: its variance by tensor, and how far it is from Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Noise", "moments"]


class Noise:
    """``total`` and "of NAME": Σ_j σ_j², over everything and by tensor, of the gradient of a training step's batch.

    They come from pairs of micro-batches, ½‖g − g'‖², without bias; a batch of B independent rows has b/B of the variance of
    one of b rows. ``cumulant`` Σ(E ξ_j⁴ − 3σ_j⁴), ``square`` Σσ_j⁴, ``third`` Σ(E ξ_j³)² and ``cube`` Σσ_j⁶ are likewise of
    such a batch and without bias: the kurtosis is 3 + cumulant/square, the squared skewness third/cube.
    """

    group = "path"
    price = 0.0

    def measure(self, moment: Moment) -> dict[str, float]:
        """At the step's parameters, before they move."""
        here, objective = moment.here, moment.function
        share = objective.size / len(here.losses) / objective.batch_size
        by_tensor = {name: share * value for name, value in here.spread.items()}
        square, cumulant, third, cube = moments(here.corner, here.weight)
        return {
            "total": math.fsum(by_tensor.values()),
            "square": share**2 * square,
            "cumulant": share**3 * cumulant,
            "third": share**4 * third,
            "cube": share**3 * cube,
            **{f"of {name}": value for name, value in by_tensor.items()},
        }


def moments(values: Tensor, weight: Tensor) -> tuple[float, float, float, float]:
    """Σ w_j of v_j², of m₄ⱼ − 3v_j², of m₃ⱼ² and of v_j³, each without bias. ``values``: (n, coordinates), n even and ≥ 6.

    n independent draws; d = differences of n/2 disjoint pairs have E d² = 2v and E d⁴ = 2m₄ + 6v²; products of different pairs
    are independent. m₃² is the product of the third k-statistics of the first and of the second half.
    """
    difference = values[0::2] - values[1::2]
    pairs = len(difference)
    v = difference.square() / 2
    s1, s2, s3 = v.sum(0), v.square().sum(0), (v**3).sum(0)
    square = (s1.square() - s2) / (pairs * (pairs - 1))
    cube = (s1**3 - 3 * s1 * s2 + 2 * s3) / (pairs * (pairs - 1) * (pairs - 2))
    cumulant = 2 * (v.square()).mean(0) - 6 * square  # d⁴/2 = 2v²
    half = len(values) // 2
    third = _third(values[:half]) * _third(values[half:])
    return tuple(float((weight * term).sum()) for term in (square, cumulant, third, cube))  # type: ignore[return-value]


def _third(values: Tensor) -> Tensor:
    """The third k-statistic: E of it is the third central moment."""
    n = len(values)
    return torch.pow(values - values.mean(0), 3).sum(0) * n / ((n - 1) * (n - 2))


PROBE = Noise()
