"""Every backend is held to the readable formula: rules × subspaces × readings × dtypes, and tensors of every form."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_gpu.optim import backends, step
from frugal_theory.config.registry import SUBSPACES
from tests.tolerances import FACTORISATION, FLOAT32, ROUNDING

ACCELERATED = ("sgdm", "adamw", "lion")
OTHERS = [name for name in backends.CHOICES if name not in ("auto", "formula")]
SHAPES = {
    "scalar": (),
    "vector": (7,),
    "matrix": (6, 9),
    "tall": (10, 4),
    "kernel": (4, 3, 2, 2),
    "none": (0, 5),
    "one": (1, 1),
}
STEPS = 9


def available(backend: str) -> str:
    whole = backends.WHOLE.get(backend)
    if whole is not None and (missing := whole.missing()) is not None:
        pytest.skip(f"needs {missing}")
    return backend


def values(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype, form: str) -> torch.Tensor:
    """Normal numbers, in memory as they come, transposed, with holes, or channels last."""
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    if form == "transposed" and drawn.dim() == 2:
        return drawn.T.contiguous().T
    if form == "channels last" and drawn.dim() == 4:
        return drawn.contiguous(memory_format=torch.channels_last)
    if form == "holes" and drawn.dim():
        room = drawn.new_zeros(*shape[:-1], 2 * shape[-1])
        room[..., ::2] = drawn
        return room[..., ::2]
    return drawn


def path(backend: str, dtype: torch.dtype, form: str = "plain", gradient_form: str = "plain", **options) -> list[torch.Tensor]:
    """Parameters after ``STEPS`` steps that cross two periods. One is frozen, one has a gradient now and then."""
    generator = torch.Generator().manual_seed(5)
    parameters = {name: nn.Parameter(values(shape, generator, dtype, form)) for name, shape in SHAPES.items()}
    parameters["frozen"] = nn.Parameter(torch.ones(3, 3, dtype=dtype), requires_grad=False)
    chosen = {"lr": 0.03, "density": 0.4, "update_gap": 4, "weight_decay": 0.2, "eps": 1e-3, **options}
    optimizer = Frugal(parameters.items(), backend=backend, **chosen)
    for k in range(STEPS):
        for name, parameter in parameters.items():
            if parameter.requires_grad:
                gradient = values(parameter.shape, generator, dtype, gradient_form)
                parameter.grad = None if name == "tall" and k in (2, 4) else gradient
        optimizer.step()
    return [parameter.detach() for parameter in parameters.values()]


@cache
def by_formula(options: tuple[tuple[str, object], ...]) -> list[torch.Tensor]:
    return path("formula", torch.float64, **dict(options))


def combinations(subspace: str):
    """(options) of every reading and on_update that is allowed with it; state-free rules go round."""
    kind, free, scale = SUBSPACES[subspace], itertools.cycle(("signsgd", "sgd", "none")), {"state_free_lr_scale": 0.6}
    for on_update, reading in itertools.product(("reset", "keep", "project"), ("reset", "decay", "hold")):
        if on_update == "project" and getattr(kind, "sketch", False):
            continue
        if (not kind.basis or reading == "reset") and (kind.basis or on_update == "reset"):
            for _ in range(3 if (on_update, reading) == ("reset", "reset") else 1):
                yield {"state_free": next(free), "on_update": on_update, "off_set_momentum": reading, **scale}


def close(fast: list[torch.Tensor], slow: list[torch.Tensor], tolerance: float, case: object) -> None:
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda text: f"{case}: {text}")


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("rule", ACCELERATED)
@pytest.mark.parametrize("subspace", [name for name in SUBSPACES if name != "eigen"])
def test_a_backend_is_the_formula(backend, rule, subspace):
    available(backend)
    tolerance = FACTORISATION if SUBSPACES[subspace].basis else ROUNDING
    for case in combinations(subspace):
        options = {**case, "state_full": rule, "subspace": subspace}
        slow = by_formula(tuple(options.items()))
        close(path(backend, torch.float64, **options), slow, tolerance, case)
        if not SUBSPACES[subspace].basis:  # in float32 a residual may round to the other sign
            close(path(backend, torch.float32, **options), [x.float() for x in slow], FLOAT32, case)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize(
    "forms", [("transposed", "plain"), ("plain", "transposed"), ("holes", "holes"), ("channels last",) * 2]
)
@pytest.mark.parametrize("subspace", ["blocks", "columns", "rows", "randk", "random"])
def test_tensors_may_lie_in_memory_as_they_please(backend, forms, subspace):
    available(backend)
    slow = by_formula((("subspace", subspace),))
    tolerance = FACTORISATION if subspace == "random" else ROUNDING
    close(path(backend, torch.float64, *forms, subspace=subspace), slow, tolerance, forms)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("subspace", ["blocks", "columns", "rows", "randk", "random"])
def test_work_is_shared_among_threads_and_stretches_without_a_change(backend, subspace, monkeypatch):
    available(backend)
    generator = torch.Generator().manual_seed(1)
    start, gradients = torch.randn(5, 300, generator=generator), torch.randn(3, 5, 300, generator=generator)

    def stepped() -> torch.Tensor:
        one, two = nn.Parameter(start.clone()), nn.Parameter(start[0].clone())
        optimizer = Frugal([("one", one), ("two", two)], subspace=subspace, density=0.3, weight_decay=0.1, backend=backend)
        for gradient in gradients:
            one.grad, two.grad = gradient.clone(), gradient[0].clone()
            optimizer.step()
        return torch.cat([one.detach().flatten(), two.detach()])

    alone = stepped()
    threads = torch.get_num_threads()
    monkeypatch.setattr("frugal_gpu.optim.backends.fused.SHARE", 1)
    monkeypatch.setattr(step, "CACHED", 128)
    torch.set_num_threads(3)
    try:
        together = stepped()
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(
        together, alone, rtol=0 if subspace != "random" else FLOAT32, atol=0 if subspace != "random" else FLOAT32
    )


def test_steps_of_units_are_counted_beyond_the_table_of_bias_corrections(monkeypatch):
    available("fused")
    from frugal_gpu.optim.backends import fused

    for subspace in ("columns", "rows", "randk"):
        options = {"subspace": subspace, "update_gap": 100}
        slow = path("formula", torch.float64, **options)
        fused._reciprocals.cache_clear()
        monkeypatch.setattr(fused, "LOOKED_UP", 4)
        close(path("fused", torch.float64, **options), slow, ROUNDING, subspace)
        monkeypatch.undo()
        fused._reciprocals.cache_clear()


@pytest.mark.parametrize("given", ["fast", None, 3])
def test_a_backend_that_is_none_is_one_line(given):
    with pytest.raises(ValueError, match=r'^Frugal: backend = .*: allowed: "auto", "formula", "foreach", "fused"[^\n]*$'):
        Frugal([nn.Parameter(torch.ones(2))], backend=given)


def test_without_numba_auto_falls_back_and_says_so_once(monkeypatch):
    monkeypatch.setattr(backends.FUSED.__class__, "missing", lambda _: "numba")
    monkeypatch.setattr(backends, "WORTH_COMPILING", 0)
    backends._say_slow.cache_clear()
    with pytest.warns(UserWarning, match="longer without numba") as said:
        slow = path("auto", torch.float64)
    close(slow, path("foreach", torch.float64), 0, "auto")
    assert len([w for w in said if "numba" in str(w.message)]) == 1
    with pytest.raises(ValueError, match=r'backend = "fused" needs numba'):
        Frugal([nn.Parameter(torch.ones(2))], backend="fused")
