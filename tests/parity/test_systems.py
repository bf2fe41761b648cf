"""Every system against a reference of its own, written from its equations: NumPy, float64, one matrix, several refreshes.

A reference takes gradients G¹, G², … and yields the steps W^{k+1} − W^k; nothing of it is shared with the engines but the
draws of random numbers, which are part of the contract.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_theory.algorithm.selection import normals, selection_key
from frugal_theory.config.registry import SYSTEMS
from tests.tolerances import FACTORISATION

SHAPES = {"wide": (4, 9), "tall": (9, 4), "square": (6, 6)}
STEPS, GAP, DENSITY, LR = 11, 3, 0.5, 0.02
B1, B2 = 0.9, 0.999


def frame(g, rank):
    """The leading singular vectors of one side, largest entry positive, as (project, lift); from the left if wide."""
    left = g.shape[0] < g.shape[1]
    u, _, vt = np.linalg.svd(g)
    q = (u if left else vt.T)[:, :rank]
    q = q * np.sign(q[np.abs(q).argmax(axis=0), np.arange(rank)])
    return (lambda x: q.T @ x, lambda x: q @ x) if left else (lambda x: x @ q, lambda x: x @ q.T)


def rank_of(shape):
    return int(DENSITY * min(shape) + 0.5)


def corrected(t, b1=B1, b2=B2):
    return 1 - b1**t, 1 - b2**t


def adam(g, state, t, eps=1e-8, b1=B1, b2=B2):
    state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
    state["v"] = b2 * state.get("v", 0) + (1 - b2) * g**2
    c1, c2 = corrected(t, b1, b2)
    return state["m"] / c1 / (np.sqrt(state["v"] / c2) + eps)


def along(x, wide):
    return np.sqrt((x**2).sum(axis=0 if wide else 1, keepdims=True))


def adamw(gs):
    state = {}
    for t, g in enumerate(gs, 1):
        yield -LR * adam(g, state, t)


def galore(gs):
    state = {}
    for k, g in enumerate(gs):
        if k % GAP == 0:
            project, lift = frame(g, rank_of(g.shape))
        yield -LR * 0.25 * lift(adam(project(g), state, k + 1))


def fira(gs):
    m = v = n = 0.0
    for k, g in enumerate(gs):
        if k % GAP == 0:
            project, lift = frame(g, rank_of(g.shape))
        r = project(g)
        m, v = B1 * m + (1 - B1) * r, B2 * v + (1 - B2) * r**2
        u, wide = m / (np.sqrt(v) + 1e-6), g.shape[0] < g.shape[1]
        s = along(u, wide) / (along(r, wide) + 1e-8) * (g - lift(r))
        if k > 0:
            s = s / (max(np.linalg.norm(s) / (n + 1e-8), 1.01) / 1.01)
        n = np.linalg.norm(s)
        c1, c2 = corrected(k + 1)
        yield -LR * 0.25 * np.sqrt(c2) / c1 * (lift(u) + s)


def adamem(gs):
    m = rows = columns = s = 0.0
    for k, g in enumerate(gs):
        if k % GAP == 0:
            project, lift = frame(g, rank_of(g.shape))
        r = project(g)
        m = B1 * m + (1 - B1) * r
        rows = B2 * rows + (1 - B2) * (m**2).mean(axis=1)
        columns = B2 * columns + (1 - B2) * (m**2).mean(axis=0)
        c1, c2 = corrected(k + 1)
        u = m / c1 / (np.sqrt(np.outer(rows, columns) / rows.mean() / c2) + 1e-6)
        rest = g - lift(r)
        s = B2 * s + (1 - B2) * (rest**2).mean(axis=1, keepdims=True)
        yield -LR * (lift(u) + rest / (np.sqrt(s / c2) + 1e-6))


def adalayer(gs):
    m = v = 0.0
    for t, g in enumerate(gs, 1):
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * (g**2).mean()
        yield -LR * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-15)


def adalayer_sgdm(gs, warm=4):
    m, v = 0.0, np.mean([(g**2).mean() for g in gs[:warm]])
    for t, g in enumerate(gs, 1):
        m = 0.9 * m + 0.1 * g
        yield 0 * g if t <= warm else -LR * m / (1 - 0.9**t) / (np.sqrt(v) + 1e-15)


def adalayer_signsgd(gs, warm=4):
    for t, g in enumerate(gs, 1):
        yield 0 * g if t <= warm else -LR * np.sign(g)


def apollo(gs, rank=None, tensor=False, scale=1.0):
    state, n = {}, 0.0
    for k, g in enumerate(gs):
        wide, r = g.shape[0] < g.shape[1], rank or rank_of(g.shape)
        if k % GAP == 0:
            p = normals(selection_key(7, "W", k // GAP), min(g.shape) * r).reshape(-1, r) / np.sqrt(r)
        seen = p.T @ g if wide else g @ p
        c1, c2 = corrected(k + 1)
        c, u = np.sqrt(c2) / c1, adam(seen, state, k + 1)
        norm = np.linalg.norm if tensor else lambda x: along(x, wide)  # noqa: B023
        s = g * norm(u / c) / (norm(seen) + 1e-8)
        if k > 0:
            s = s / (max(np.linalg.norm(s) / (n + 1e-8), 1.01) / 1.01)
        n = np.linalg.norm(s)
        yield -LR * np.sqrt(scale) * c * s


def ldadam(gs, rank=2, b1=0.908, b2=0.99, rho=0.908):
    u = m = v = e = None
    for t, g in enumerate(gs, 1):
        tall = g.shape[0] > g.shape[1]
        a = (g.T if tall else g) + (0 if e is None else e)
        if t == 1:
            u = np.linalg.svd(a)[0][:, :rank]
            u = u * np.sign(u[np.abs(u).argmax(axis=0), np.arange(rank)])
            old, mean, square, left = u, np.zeros((rank, a.shape[1])), np.zeros((rank, a.shape[1])), 0.0
        else:
            c1, c2 = corrected(t - 1, b1, b2)
            b, old = rho * u @ (m / c1) + (1 - rho) * a, u
            q, triangle = np.linalg.qr(b @ b.T @ u)
            u = q * np.sign(np.diag(triangle))
            c = u.T @ old
            mean, square = c @ m, abs(c2 * ((c * c) @ (v / c2 - (m / c1) ** 2) + (c @ (m / c1)) ** 2))
            left = b1 / (1 - b1) * (old @ m - u @ mean)
        inside = u.T @ a
        e = a - u @ inside + left
        m, v = b1 * mean + (1 - b1) * inside, b2 * square + (1 - b2) * inside**2
        c1, c2 = corrected(t, b1, b2)
        step = -LR * u @ (m / c1 / (np.sqrt(v / c2) + 1e-8))
        yield step.T if tall else step


def muon(gs):
    m = 0.0
    for g in gs:
        m = 0.95 * m + 0.05 * g
        x = (0.95 * m + 0.05 * g).T if g.shape[0] > g.shape[1] else 0.95 * m + 0.05 * g
        x = x / (np.linalg.norm(x) + 1e-7)
        for _ in range(5):
            s = x @ x.T
            x = 3.4445 * x - 4.7750 * s @ x + 2.0315 * s @ s @ x
        yield -LR * 20 * np.sqrt(max(1, g.shape[0] / g.shape[1])) * (x.T if g.shape[0] > g.shape[1] else x)


def lion(gs):
    m = 0.0
    for g in gs:
        yield -LR * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g


def sgdm(gs):
    m = 0.0
    for g in gs:
        m = 0.9 * m + 0.1 * g
        yield -LR * m


REFERENCES = {
    "galore": (galore, {"density": DENSITY}),
    "fira": (fira, {"density": DENSITY}),
    "adamem": (adamem, {"density": DENSITY}),
    "adalayer": (adalayer, {}),
    "adalayer-sgdm": (adalayer_sgdm, {"state_full": {"warm": 4}}),
    "adalayer-signsgd": (adalayer_signsgd, {"state_free": {"after": 4}}),
    "apollo": (apollo, {"density": DENSITY}),
    "apollo-mini": (lambda gs: apollo(gs, 1, tensor=True, scale=128), {}),
    "ldadam": (ldadam, {"state_full": {"rank": 2}}),
    "muon": (muon, {}),
    "adamw": (adamw, {}),
    "lion": (lion, {}),
    "sgdm": (sgdm, {}),
    "sgd": (lambda gs: (-LR * g for g in gs), {}),
    "signsgd": (lambda gs: (-LR * np.sign(g) for g in gs), {}),
}
BY_BLOCK = ("frugal", "badam", "adamw-first", "adamw-last")


def algorithm(system: str, **keys: object) -> ft.Algorithm:
    gap = {"update_gap": GAP} if SYSTEMS[system].accepts is None or "update_gap" in SYSTEMS[system].accepts else {}
    return ft.parse({"name": "one", "algorithm": {"system": system, "learning_rate": LR, "seed": 7, **gap, **keys}}).algorithm


def gradients(shapes):
    rng = np.random.default_rng(1)
    return [{name: rng.standard_normal(shape) for name, shape in shapes.items()} for _ in range(STEPS)]


def numpy_path(chosen, x, gs):
    state, path = ft.init(), []
    for g in gs:
        x, state = ft.step(chosen, x, g, state)
        path.append(x)
    return path


def torch_path(chosen, x, gs, model=None):
    model = torch.nn.ParameterDict() if model is None else model
    for name, value in x.items():
        model[name] = torch.nn.Parameter(torch.tensor(value))
    optimizer, path = Frugal.from_config(model, chosen), []
    for g in gs:
        for name, parameter in model.items():
            parameter.grad = torch.tensor(g[name])
        optimizer.step()
        path.append({name: parameter.detach().numpy().copy() for name, parameter in model.items()})
    return path


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("system", REFERENCES)
def test_a_system_is_its_reference(system, shape):
    reference, keys = REFERENCES[system]
    chosen, x = algorithm(system, **keys), {"W": np.random.default_rng(2).standard_normal(SHAPES[shape])}
    gs = gradients({"W": SHAPES[shape]})
    expected = x["W"] + np.cumsum(list(reference([g["W"] for g in gs])), axis=0)
    for path in (numpy_path(chosen, x, gs), torch_path(chosen, x, gs)):
        np.testing.assert_allclose([p["W"] for p in path], expected, rtol=FACTORISATION, atol=FACTORISATION)


LAYERS = {f"layers.{i}.{name}": shape for i in range(4) for name, shape in {"q": (4, 6), "k": (6, 4), "o": (5, 5)}.items()}


def by_layer(active):
    """AdamW on the layers of ``active(period)``, whose state ends when they leave."""

    def path(x, gs, decay):
        x, states = dict(x), {}
        for k, g in enumerate(gs):
            inside = active(k // GAP)
            for name in x:
                layer = int(name.split(".")[1])
                if layer in inside:
                    state = states.setdefault(name, {"t": 0})
                    state["t"] += 1
                    x[name] = (1 - LR * decay) * x[name] - LR * adam(g[name], state, state["t"])
                else:
                    states.pop(name, None)
            yield dict(x)

    return path


@pytest.mark.parametrize(
    ("system", "active"),
    [
        ("badam", lambda period: {3 - period % 4}),
        ("adamw-first", lambda _: {0}),
        ("adamw-last", lambda _: {3}),
    ],
)
def test_a_system_of_layers_is_its_reference(system, active):
    """Layers of equal size at ρ = ¼: one at a time. What is frozen does not decay, either."""
    rng = np.random.default_rng(3)
    x, gs = {name: rng.standard_normal(shape) for name, shape in LAYERS.items()}, gradients(LAYERS)
    chosen = algorithm(system, weight_decay=0.3)
    names = torch.nn.Module()
    for name, value in x.items():
        _put(names, name, torch.nn.Parameter(torch.tensor(value)))
    optimizer, reached = Frugal.from_config(names, chosen), []
    for g in gs:
        for name, parameter in names.named_parameters():
            parameter.grad = torch.tensor(g[name])
        optimizer.step()
        reached.append({name: parameter.detach().numpy().copy() for name, parameter in names.named_parameters()})
    for path in (numpy_path(chosen, x, gs), reached):
        for ours, theirs in zip(path, by_layer(active)(x, gs, 0.3), strict=True):
            for name in x:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=FACTORISATION, atol=FACTORISATION, err_msg=name)


def _put(module, name, parameter):
    *path, last = name.split(".")
    for part in path:
        if not hasattr(module, part):
            module.add_module(part, torch.nn.Module())
        module = getattr(module, part)
    module.register_parameter(last, parameter)


def test_frugal_is_the_algorithm_itself():
    chosen = algorithm("frugal", subspace="columns", density=0.3, state_full={"rule": "lion"})
    plain = ft.Algorithm(learning_rate=LR, seed=7, update_gap=GAP, subspace="columns", density=0.3, state_full="lion")
    assert chosen.model_copy(update={"system": None}) == plain


def test_every_system_has_a_reference():
    assert {*REFERENCES, *BY_BLOCK} == set(SYSTEMS)
