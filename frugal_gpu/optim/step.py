"""One step of Algorithm 1 on the tensors of one device and dtype: split, update, join, apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.backends import InPlace
from frugal_gpu.optim.backends.foreach import state_free_update
from frugal_gpu.optim.subspaces import Basis, Free, Full, HeldUnits, OffBlock, Part, Units
from frugal_theory.config.registry import SUBSPACES

__all__ = ["Chosen", "Share", "apply", "is_frozen", "move_scale", "take_share"]

Chosen = Full | Free | OffBlock | Units | Basis


@dataclass
class Share:
    """One parameter's share of a step: its gradient in two parts, the statistics, and what the rules make of them.

    ``held`` are the full-size statistics of which ``statistics`` is the selection, under the reading "hold" only.
    """

    parameter: Tensor
    part: Chosen
    g_full: Tensor | None
    g_free: Tensor | None
    statistics: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)
    update: Tensor | None = None
    free: Tensor | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        """Shares of one kind can be updated together: device, dtype, and steps counted by tensor, unit or not at all."""
        return self.parameter.device, self.parameter.dtype, type(self.statistics.get("step"))


def take_share(rule: InPlace, parameter: Tensor, part: Chosen, states: Mapping[Tensor, dict[str, Any]]) -> Share:
    """Split the gradient, and look up the statistics of its state-full part: zeros where there are none yet.

    ``states`` is the optimizer's defaultdict. Raises RuntimeError for a sparse gradient.
    """
    gradient = parameter.grad
    assert gradient is not None
    g_full, g_free = part.split(gradient)
    if g_full is None:
        return Share(parameter, part, None, g_free)
    state = states[parameter]
    names = rule.vectors + rule.squares
    if names[0] not in state:
        like = gradient.new_empty(part.shape) if isinstance(part, HeldUnits) else g_full
        state.update({name: torch.zeros_like(like) for name in names})
        if rule.counts:
            state["step"] = part.no_steps(gradient.dtype) if isinstance(part, Units) else 0
    statistics = {name: state[name] for name in (*names, *(("step",) if rule.counts else ()))}
    if isinstance(part, HeldUnits):
        return Share(parameter, part, g_full, g_free, {name: part.select(s) for name, s in statistics.items()}, statistics)
    if isinstance(state.get("step"), int):
        state["step"] = statistics["step"] = state["step"] + 1
    return Share(parameter, part, g_full, g_free, statistics)


def apply(group: Mapping[str, Any], rule: InPlace, shares: Sequence[Share]) -> None:
    """Run both rules on shares of one kind and move their parameters: x ← (1 − α · weight_decay) x − α · scale · u."""
    _state_full(rule, [share for share in shares if share.g_full is not None])
    if group["state_free"] != "none":
        _state_free(group, [share for share in shares if share.g_free is not None])
    alpha = float(group["lr"])
    shares = [share for share in shares if not is_frozen(group, share.part)]
    if shares and group["weight_decay"] != 0:
        torch._foreach_mul_([share.parameter for share in shares], 1 - alpha * group["weight_decay"])
    moves = [(share.parameter, u) for share in shares if (u := share.part.join(share.update, share.free)) is not None]
    if moves:
        torch._foreach_add_([x for x, _ in moves], [u.reshape(x.shape) for x, u in moves], alpha=-alpha * move_scale(group))


def move_scale(group: Mapping[str, Any]) -> float:
    """The factor on the learning rate, and not on the decay, of a group that is split."""
    return float(group["split_lr_scale"]) if group["split"] is True else 1.0


def is_frozen(group: Mapping[str, Any], part: Part) -> bool:
    """Whether a parameter is off the set as a whole with nothing to move it: it does not decay then."""
    if group["state_free"] != "none":
        return False
    divided = isinstance(part, Units) and SUBSPACES[group["subspace"]].whole and group["set"] is None
    return isinstance(part, Free | OffBlock) or (divided and len(part.index) == 0)  # type: ignore[union-attr]


def _state_full(rule: InPlace, shares: Sequence[Share]) -> None:
    if not shares:
        return
    statistics = {name: [share.statistics[name] for share in shares] for name in shares[0].statistics}
    counts = statistics.pop("step", [])
    if counts and isinstance(counts[0], Tensor):
        torch._foreach_add_(counts, 1.0)
    updates = rule.update_(statistics, [share.g_full for share in shares if share.g_full is not None], counts)
    for share, update in zip(shares, updates, strict=True):
        share.update = update.to(share.parameter.dtype)
        if isinstance(share.part, HeldUnits):
            for name, stored in share.held.items():
                share.part.write_(stored, share.statistics[name])


def _state_free(group: Mapping[str, Any], shares: Sequence[Share]) -> None:
    if not shares:
        return
    residuals = [share.g_free for share in shares if share.g_free is not None]
    updates = state_free_update(group["state_free"], group["state_free_lr_scale"], residuals)
    for share, update in zip(shares, updates, strict=True):
        share.free = update
