"""Exact expectations where coordinates do not decouple: S = E[s sᵀ] of the whole state s = (x, m), O(d³) a step.

f(x) = ½ xᵀAx with independent additive noise of covariance Σ = diag(σ_j²). Both functions yield E[gᵏ gᵏᵀ], the second
moments of the gradient gᵏ = Axᵏ, for k = 1, 2, …; its trace is E‖gᵏ‖². They never end: take as many as you need.
Arrays may carry leading trial axes, one selection a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.exact.linear import Updates

__all__ = ["Inclusion", "Turn", "along_masks", "along_projectors", "fixed_size", "independent", "known"]

Array = NDArray[np.float64]


class Inclusion(NamedTuple):
    """The law of one momentum set: p_j = Pr[j ∈ J], shape (…, d), and p_jl = Pr[j ∈ J and l ∈ J], shape (…, d, d)."""

    single: Array
    pair: Array


def known(member: NDArray[np.bool_]) -> Inclusion:
    """A set that is not random: p_jl = 1[j ∈ J] 1[l ∈ J]."""
    single = member.astype(np.float64)
    return Inclusion(single, single[..., :, None] * single[..., None, :])


def independent(probability: Array) -> Inclusion:
    """Bernoulli sampling: p_jl = p_j p_l for j ≠ l."""
    pair = np.outer(probability, probability)
    np.fill_diagonal(pair, probability)
    return Inclusion(probability, pair)


def fixed_size(counts: list[tuple[int, int]]) -> Inclusion:
    """Uniform sets of a fixed size, n out of d coordinates in each group of (n, d): p_jl = n(n−1)/(d(d−1)) within a group.

    Different groups (parameters) are drawn independently.
    """
    single = np.concatenate([np.full(d, n / d) for n, d in counts])
    pair = np.outer(single, single)
    first = 0
    for n, d in counts:
        pair[first : first + d, first : first + d] = n * (n - 1) / (d * (d - 1)) if d > 1 else n
        first += d
    np.fill_diagonal(pair, single)
    return Inclusion(single, pair)


def along_masks(
    hessian: Array,
    variance: Array,
    start: Array,
    inclusion: Callable[[int], Inclusion],
    updates: Updates,
    *,
    update_gap: int = 1,
) -> Iterator[Array]:
    """E[gᵏ gᵏᵀ] for k = 1, 2, …, shape (…, d, d), for momentum sets of coordinates.

    ``hessian`` A (d, d); ``variance`` σ_j² and ``start`` x¹ (d,). ``inclusion(period)`` is the law of the momentum
    set in one period of ``update_gap`` steps, given the past: :func:`known` sets of any period length, or random ones
    (:func:`independent`, :func:`fixed_size`), which must be drawn anew at every step: update_gap = 1.

    One step is x ← shrink·x + a∘m + c∘g̃, m ← e∘m + f∘g̃ with coefficients that depend on whether j ∈ J, so that the
    average over J of an entry such as E[(a_j m_j)(c_l g̃_l)] is E[a_j c_l] E[m_j g̃_l]: all it takes of the joint law is
    p_j and p_jl.
    """
    noise = np.diag(variance)
    xx = np.outer(start, start)
    xm, mm = np.zeros_like(xx), np.zeros_like(xx)
    k = 0
    while True:
        if k % update_gap == 0:
            law = inclusion(k // update_gap)
            w = _coefficients(updates, law)
        xx, mm = _symmetric(xx), _symmetric(mm)  # rounding off the symmetric matrices would grow like (1 + α²λ_iλ_j)^k
        xg = xx @ hessian
        gradient = _symmetric(hessian @ xg)
        yield gradient + np.zeros_like(law.pair) if k == 0 else gradient
        mg = _transpose(xm) @ hessian
        gg = gradient + noise
        ac_mg, ef_mg = w.ac * mg, w.ef * mg
        cross = w.shrink * (xm * w.a + xg * w.c) + ac_mg
        xx, xm, mm = (
            w.shrink**2 * xx + w.aa * mm + w.cc * gg + cross + _transpose(cross),
            w.shrink * (xm * w.e + xg * w.f) + w.ae * mm + w.af * mg + w.ce * _transpose(mg) + w.cf * gg,
            w.ee * mm + w.ff * gg + ef_mg + _transpose(ef_mg),
        )
        k += 1


class Turn(NamedTuple):
    """A new subspace: Π, its orthogonal projector, and the map that momentum goes through at the change; (…, d, d)."""

    projector: Array
    carry: Array


def along_projectors(
    hessian: Array,
    variance: Array,
    start: Array,
    subspace: Callable[[int], Turn],
    updates: Updates,
    *,
    update_gap: int = 1,
) -> Iterator[Array]:
    """E[gᵏ gᵏᵀ] for k = 1, 2, …, shape (…, d, d), along a known sequence of orthogonal subspaces.

    ``subspace(period)`` is the one of a period of ``update_gap`` steps; with s = (x, m), m in the whole space, a step
    is S ← T S Tᵀ + N Σ Nᵀ. The other arguments are those of :func:`along_masks`; momentum off the subspace is zero.
    """
    d = len(start)
    inside, outside = updates.inside, updates.outside
    eye, noise = np.eye(d), np.diag(variance)
    moments = np.zeros((2 * d, 2 * d))
    moments[:d, :d] = np.outer(start, start)
    k = 0
    while True:
        if k % update_gap == 0:
            projector, carry = subspace(k // update_gap)
            off = eye - projector
            apply = np.concatenate([inside.c * projector + outside.c * off, inside.f * projector], axis=-2)
            keep = np.concatenate([inside.a * projector, inside.e * projector], axis=-2)
            transition = np.concatenate([apply @ hessian, keep], axis=-1)
            transition[..., :d, :d] += inside.shrink * eye
            added = apply @ noise @ _transpose(apply)
            moments = np.broadcast_to(moments, transition.shape).copy()
            moments[..., d:, :] = carry @ moments[..., d:, :]
            moments[..., :, d:] = moments[..., :, d:] @ _transpose(carry)
        yield hessian @ moments[..., :d, :d] @ hessian
        moments = transition @ moments @ _transpose(transition) + added
        k += 1


@dataclass(frozen=True)
class _Coefficients:
    """E[u_l], shape (…, 1, d), and E[u_j v_l], shape (…, d, d), of the coefficients of one step."""

    shrink: float
    a: Array
    c: Array
    e: Array
    f: Array
    aa: Array
    ac: Array
    ae: Array
    af: Array
    cc: Array
    ce: Array
    cf: Array
    ee: Array
    ef: Array
    ff: Array


def _coefficients(updates: Updates, law: Inclusion) -> _Coefficients:
    inside, outside = updates.inside, updates.outside
    row, column = law.single[..., None, :], law.single[..., :, None]

    def mean(u: str) -> Array:
        return getattr(outside, u) + (getattr(inside, u) - getattr(outside, u)) * row

    def product(u: str, v: str) -> Array:
        u0, v0 = getattr(outside, u), getattr(outside, v)
        du, dv = getattr(inside, u) - u0, getattr(inside, v) - v0
        return u0 * v0 + u0 * dv * row + du * v0 * column + du * dv * law.pair

    means = {u: mean(u) for u in "acef"}
    products = {u + v: product(u, v) for u, v in ("aa", "ac", "ae", "af", "cc", "ce", "cf", "ee", "ef", "ff")}
    return _Coefficients(inside.shrink, **means, **products)


def _symmetric(matrix: Array) -> Array:
    return (matrix + _transpose(matrix)) / 2


def _transpose(matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2)
