"""What is claimed of the GPU's kernels, as runs that tests and the smoke check share: parity, no waiting, graphs.

A run takes a few steps on small parameters of odd shapes, over the end of a period, on any device that kernels run on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from frugal_gpu import Frugal

SHAPES = ((24, 40), (67, 33), (50,), (9, 31), (3, 5, 7))
SUBSPACES = ("blocks", "columns", "rows", "coordinates", "randk", "random")
RULES = (("adamw", "signsgd"), ("lion", "sgd"), ("sgdm", "none"))
STEPS = 5


@dataclass(frozen=True)
class Case:
    """Options of a run, and the type of its parameters."""

    subspace: str
    full: str
    free: str
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        own = "".join(f" {key}={value}" for key, value in self.options.items())
        return f"{self.subspace} {self.full} {self.free} {str(self.dtype).removeprefix('torch.')}{own}"


def cases() -> Iterator[Case]:
    """Every subspace under pairs of rules in float32, and under AdamW and signs in short floats and with further options."""
    yield from (Case(subspace, *rules) for rules, subspace in itertools.product(RULES, SUBSPACES))
    yield Case("blocks", "adamw", "signsgd", options={"density": 1.0})
    yield Case("blocks", "adamw", "signsgd", options={"density": 0.0})
    yield Case("blocks", "adamw", "signsgd", options={"density": 0.05})  # every block is divided
    yield Case("columns", "adamw", "sgd", options={"split_lr_scale": 0.5, "state_free_lr_scale": 0.3})
    for dtype in (torch.bfloat16, torch.float16):
        yield from (Case(subspace, "adamw", "signsgd", dtype) for subspace in ("blocks", "columns", "rows", "randk"))
    yield Case("columns", "adamw", "signsgd", torch.bfloat16, {"state_dtype": "bfloat16"})
    yield Case("random", "adamw", "signsgd", torch.bfloat16)


def run(case: Case, backend: str, device: str, tensor_lr: bool = False) -> list[Tensor]:
    """The parameters after some steps, the fourth of which enters a second period."""
    generator = torch.Generator().manual_seed(0)
    named = parameters(case.dtype, device, generator)
    lr = torch.tensor(0.01, device=device) if tensor_lr else 0.01
    optimizer = _optimizer(case, named, backend, lr=lr)
    for _ in range(STEPS):
        give_gradients(named, generator)
        optimizer.step()
    return [x.detach().cpu().double() for _, x in named]


def error_of(case: Case, device: str, tensor_lr: bool = False) -> float:
    """The largest difference between the kernels and the formula, over the largest number."""
    found, expected = run(case, "triton", device, tensor_lr), run(case, "formula", device)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))


def parameters(dtype: torch.dtype, device: str, generator: torch.Generator) -> list[tuple[str, nn.Parameter]]:
    """Normal numbers under names."""
    return [
        (f"layers.{i}.weight", nn.Parameter(torch.randn(shape, generator=generator).to(device, dtype)))
        for i, shape in enumerate(SHAPES)
    ]


def give_gradients(named: list[tuple[str, nn.Parameter]], generator: torch.Generator, keep: bool = False) -> None:
    """Normal gradients; ``keep``: in the tensors that there are."""
    for _, x in named:
        gradient = torch.randn(x.shape, generator=generator).to(x.device, x.dtype)
        if keep and x.grad is not None:
            x.grad.copy_(gradient)
        else:
            x.grad = gradient


def _optimizer(case: Case, named: list[tuple[str, nn.Parameter]], backend: str, **further: Any) -> Frugal:
    options = {"lr": 0.01, "density": 0.3, "update_gap": 3, "weight_decay": 0.1, "split": True, **case.options, **further}
    rules = {"subspace": case.subspace, "state_full": case.full, "state_free": case.free}
    return Frugal(named, **rules, backend=backend, **options)


@contextmanager
def no_waiting() -> Iterator[None]:
    """The host may not wait for the GPU in here: RuntimeError where it does."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def ordinary_steps_without_waiting(case: Case, backend: str = "triton", tensor_lr: bool = False) -> None:
    """Three ordinary steps, with new gradients in other places; RuntimeError if the host waits in one."""
    generator = torch.Generator().manual_seed(0)
    named = parameters(case.dtype, "cuda", generator)
    lr = torch.tensor(0.01, device="cuda") if tensor_lr else 0.01
    optimizer = _optimizer(case, named, backend, lr=lr, update_gap=100)
    for step in range(4):
        give_gradients(named, generator)
        if step == 0:
            optimizer.step()
        else:
            with no_waiting():
                optimizer.step()


def graph_against_eager(case: Case, backend: str = "triton", replays: int = 4) -> float:
    """The largest difference between replays of a captured step and the same steps taken one by one: 0 bit for bit."""
    ends = []
    for captured in (False, True):
        generator = torch.Generator().manual_seed(0)
        named = parameters(case.dtype, "cuda", generator)
        optimizer = _optimizer(case, named, backend, update_gap=replays + 2, capturable=True)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # the first of a period, and an ordinary one
                give_gradients(named, generator, keep=True)
                optimizer.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if captured:
            with torch.cuda.graph(graph):
                optimizer.step()
        for _ in range(replays):
            give_gradients(named, generator, keep=True)
            graph.replay() if captured else optimizer.step()
        if captured:
            optimizer.count_replays(replays)
        give_gradients(named, generator, keep=True)
        optimizer.step()  # the next period
        ends.append([x.detach().cpu().double() for _, x in named])
    return max(float((a - b).abs().max()) for a, b in zip(*ends, strict=True))
