"""One closed-loop problem for both engines: each computes its own gradients along its own path.

f_k(x) = Σ_n ½⟨X_n, A_n X_n B_n⟩ − ⟨C_n^k, X_n⟩ over a vector and two matrices, with symmetric positive definite A_n and
B_n and a fixed normal push C^k of every step. The push keeps gradients away from zero, where the sign rule would turn
a rounding difference into a step, and separates the singular values that the svd subspace sorts by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_theory.config import Algorithm

SHAPES = {"x": (7,), "W": (6, 5), "V": (4, 8)}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Driven:
    """The problem's data: A_n, B_n, C_n (steps first) and the start, by name."""

    left: Arrays
    right: Arrays
    push: Arrays
    start: Arrays

    @property
    def steps(self) -> int:
        return len(next(iter(self.push.values())))

    @property
    def bases(self) -> Arrays:
        """Eigenvectors of the side on which a basis acts, as columns, leading ones first."""
        return {
            name: np.linalg.eigh((self.left if len(x.shape) < 2 or x.shape[0] < x.shape[1] else self.right)[name])[1][:, ::-1]
            for name, x in self.start.items()
        }

    def gradient(self, x: Mapping[str, np.ndarray], k: int) -> Arrays:
        """A X B − C^k."""
        return {
            name: self.left[name] @ value @ self.right[name] - self.push[name][k]
            if value.ndim == 2
            else self.left[name] @ value - self.push[name][k]
            for name, value in x.items()
        }

    def scaled(self, factor: float) -> Driven:
        """factor · f."""
        return Driven(
            {name: factor * value for name, value in self.left.items()},
            self.right,
            {name: factor * value for name, value in self.push.items()},
            self.start,
        )


def driven(steps: int, seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Driven:
    rng = np.random.default_rng(seed)

    def definite(size: int) -> np.ndarray:
        q, _ = np.linalg.qr(rng.standard_normal((size, size)))
        return q * np.linspace(0.4, 1.6, size) @ q.T

    return Driven(
        left={name: definite(shape[0]) for name, shape in shapes.items()},
        right={name: definite(shape[-1]) for name, shape in shapes.items()},
        push={name: rng.standard_normal((steps, *shape)) for name, shape in shapes.items()},
        start={name: rng.standard_normal(shape) for name, shape in shapes.items()},
    )


class Model(nn.Module):
    """The start as parameters with the problem's names."""

    def __init__(self, problem: Driven, device: str = "cpu", dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        for name, value in problem.start.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=dtype, device=device)))

    def arrays(self) -> Arrays:
        return {name: x.detach().cpu().numpy().copy() for name, x in self.named_parameters()}


def loss(problem: Driven, models: Sequence[Model], k: int) -> torch.Tensor:
    """Σ f_k over the models, as one batch; the gradients are left to autograd."""
    total = torch.zeros(())
    for name in problem.start:
        x = torch.stack([model.get_parameter(name) for model in models])
        left, right, push = (torch.as_tensor(a).to(x) for a in (problem.left[name], problem.right[name], problem.push[name][k]))
        curved = left @ x @ right if push.dim() == 2 else x @ left
        total = total + ((0.5 * curved - push) * x).sum()
    return total


def numpy_path(algorithm: Algorithm, problem: Driven, learning_rates: Callable[[int], float] | None = None) -> list[Arrays]:
    """x¹, …, x^{steps+1} by ``frugal_theory.step``."""
    x, state, path = problem.start, ft.init(bases=problem.bases), [problem.start]
    for k in range(problem.steps):
        x, state = ft.step(algorithm, x, problem.gradient(x, k), state, learning_rates(k) if learning_rates else None)
        path.append(x)
    return path


def torch_paths(algorithms: Sequence[Algorithm], problem: Driven, device: str = "cpu") -> list[list[Arrays]]:
    """x¹, …, x^{steps+1} by ``frugal_gpu.Frugal``, one path for each algorithm; they share nothing but the backward pass."""
    models = [Model(problem, device) for _ in algorithms]
    optimizers = [Frugal.from_config(m, a, bases=problem.bases) for m, a in zip(models, algorithms, strict=True)]
    paths = [[model.arrays()] for model in models]
    for k in range(problem.steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss(problem, models, k).backward()
        for model, optimizer, path in zip(models, optimizers, paths, strict=True):
            optimizer.step()
            path.append(model.arrays())
    return paths


def torch_path(algorithm: Algorithm, problem: Driven, device: str = "cpu") -> list[Arrays]:
    return torch_paths([algorithm], problem, device)[0]


def assert_same_path(left: Sequence[Arrays], right: Sequence[Arrays], tolerance: float, case: object = "") -> None:
    """Every parameter at every step, relative to the parameter's largest entry on the whole path."""
    for name in left[0]:
        a, b = (np.stack([x[name] for x in path]) for path in (left, right))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(), err_msg=f"{name} {case}")
