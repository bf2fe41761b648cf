"""Gradients that are not finite are named before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.groups import names_of
from frugal_gpu.optim.placement import agreed, local

__all__ = ["CHECK_FINITE", "check_finite"]

CHECK_FINITE = (True, False, "auto")
"""Whether gradients are looked at before a step: always, never, or on the CPU, where the host need not wait for it."""


def check_finite(groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise RuntimeError, on all ranks, naming the first parameters whose gradients have NaN or infinite entries."""
    numbered = _numbered(groups)
    looked_at = [(i, local(x.grad)) for i, x in numbered if x.grad is not None]
    odd = _odd([g for _, g in looked_at])
    bad = {i: count for (i, g), is_odd in zip(looked_at, odd, strict=True) if is_odd and (count := int((~g.isfinite()).sum()))}
    if not agreed(bool(bad), [x for _, x in numbered]):
        return
    names = [name for index in range(len(groups)) for name in names_of(groups, index)]
    found = [
        f"the gradient of {names[i]} has {n} entr{'y that is' if n == 1 else 'ies that are'} not finite" for i, n in bad.items()
    ]
    where = (
        ", ".join(found[:3]) + (f", and {len(found) - 3} more" if len(found) > 3 else "") or "another rank has such a gradient"
    )
    raise RuntimeError(f"Frugal: {where}; nothing was changed (check_finite=False steps without looking)")


def _numbered(groups: Sequence[Mapping[str, Any]]) -> list[tuple[int, Tensor]]:
    """The parameters of groups that are checked, with their positions in the optimizer."""
    found, position = [], 0
    for group in groups:
        ask, parameters = group["check_finite"], group["params"]
        if ask is True or ask == "auto":
            found += [
                (position + i, x)
                for i, x in enumerate(parameters)
                if (ask is True or x.is_cpu) and ((g := x.grad) is None or not g.is_sparse)
            ]
        position += len(parameters)
    return found


def _odd(gradients: Sequence[Tensor]) -> list[bool]:
    """Which sums are not finite: of one pass over the numbers, and a superset of what is looked for (a sum may overflow)."""
    if not gradients:
        return []
    by_device: dict[torch.device, list[int]] = {}
    for i, g in enumerate(gradients):
        by_device.setdefault(g.device, []).append(i)
    odd = [False] * len(gradients)
    for some in by_device.values():
        sums = torch.stack([gradients[i].sum(dtype=torch.float32 if gradients[i].element_size() < 4 else None) for i in some])
        for i, ok in zip(some, sums.isfinite().tolist(), strict=True):
            odd[i] = not ok
    return odd
