"""The ends of the Hessian's spectrum, by Lanczos on Hessian-vector products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from frugal_gpu.probes.lanczos import lanczos, random_start
from frugal_gpu.probes.objective import Objective, parameters_of
from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Curvature", "hessian_product"]

PRODUCTS = 12
"""Hessian-vector products of one measurement."""


class Curvature:
    """``top`` and ``bottom``: the ends of the spectrum of ∇²f on one sample of rows, to within ``top_residual`` and
    ``bottom_residual``. On a sample the top is on average above that of f (it is convex in the matrix)."""

    group = "curvature"
    price = 2.0 * PRODUCTS

    def measure(self, moment: Moment) -> dict[str, float]:
        """At the step's parameters, before they move."""
        objective = moment.function
        rows = objective.draw(moment.step, objective.size)
        parameters = list(parameters_of(objective.model).values())
        with hessian_product(objective, rows) as product:
            start = random_start(sum(p.numel() for p in parameters), moment.step, parameters[0].device, parameters[0].dtype)
            ends = lanczos(product, start, PRODUCTS)
        return ends._asdict()


@contextmanager
def hessian_product(objective: Objective, rows: Sequence[int]) -> Iterator[Callable[[Tensor], Tensor]]:
    """v ↦ ∇²f v on some rows, over the flattened parameters in the model's order: one graph of the gradient serves all v.

    Attention is computed by its formula there: its fused kernels have no second derivative.
    """
    parameters = list(parameters_of(objective.model).values())
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        loss = objective.loss(rows)
        slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        known = [(slope, p) for slope, p in zip(slopes, parameters, strict=True) if slope is not None and slope.requires_grad]

        def product(vector: Tensor) -> Tensor:
            parts = dict(zip(map(id, parameters), torch.split(vector.detach(), [p.numel() for p in parameters]), strict=True))
            inner = sum((slope * parts[id(p)].view_as(p)).sum() for slope, p in known)
            assert isinstance(inner, Tensor)
            found = torch.autograd.grad(inner, parameters, retain_graph=True, allow_unused=True)
            return torch.cat(
                [(torch.zeros_like(p) if h is None else h).flatten() for h, p in zip(found, parameters, strict=True)]
            ).detach()

        yield product


PROBE = Curvature()
