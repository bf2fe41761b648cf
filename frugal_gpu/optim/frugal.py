"""FRUGAL (Algorithm 1, arXiv 2411.07837) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from frugal_gpu.optim import formula
from frugal_gpu.optim import groups as param_groups
from frugal_gpu.optim.backends import InPlace, accelerated
from frugal_gpu.optim.step import Chosen, Share, apply, take_share
from frugal_gpu.optim.subspaces import Basis, Free, Part, Turning, Units, at_least_float32, choose_basis, choose_parts
from frugal_theory import config
from frugal_theory.algorithm.rules import Rule
from frugal_theory.algorithm.selection import selection_key

__all__ = ["Frugal"]


class Frugal(torch.optim.Optimizer):
    """State-full rule on a subspace of density ρ, state-free rule on the rest; the subspace changes every T steps.

    For every parameter, with P the map onto its state-full part in the present period::

        g_full = P(g)
        g_free = g − P⁻¹(g_full)
        u      = P⁻¹(state_full(g_full)) + state_free_lr_scale · state_free(g_free)
        x      ← (1 − lr · weight_decay) x − lr · u

    Args:
        params: parameters, ``(name, parameter)`` pairs (``model.named_parameters()``) or dicts of groups. Names enter
            the selection: with names, a run draws the subspaces that the NumPy engine draws.
        lr: α, a number or a tensor.
        density: ρ, the state-full fraction, 0 to 1. ρ = 1 is the state-full rule alone, ρ = 0 the state-free rule.
        update_gap: T, the steps of a period.
        subspace: "blocks" (a block is a parameter), "columns", "rows", "randk", "coordinates", "random", "svd" or
            "eigen". A vector under "columns", "rows" and "svd" is state-full as a whole; a parameter with more than
            two dimensions is treated as the matrix ``(shape[0], -1)``.
        state_full: "adamw", "lion" or "sgdm", or a table such as ``{"rule": "lion", "betas": (0.9, 0.99)}``.
        state_free: "signsgd", "sgd" or "none".
        betas: (β₁, β₂); by default (0.9, 0.999) for AdamW and (0.9, 0.99) for Lion.
        eps: ε of AdamW.
        beta: β of SGDM.
        weight_decay: decoupled weight decay of the whole parameter.
        state_free_lr_scale: factor of the state-free update.
        on_update: what a new basis ("random", "svd") does with statistics: "reset", "keep" or "project".
        off_set_momentum: what leaving the set does with a unit's statistics: "reset" (forget), "decay" (they see zero
            gradients) or "hold" (they freeze). Only "reset" saves memory.
        seed: of the selection, a pure function of (seed, parameter name, period).
        set: coordinates that are always state-full, instead of a draw (subspace "coordinates").
        sampling: "independent" or "fixed_size" (subspace "coordinates").
        order: "random", "ascending", "descending" or "mirror" (subspace "blocks").
        bases: for subspace "eigen", the orthonormal columns of each parameter by name, leading ones first.
        split: True (split by the subspace), "state_full" or "state_free" (as a whole); meant to be set by group.

    Every option but ``params`` may be set by group. Raises ValueError for values that cannot be run, RuntimeError for
    complex parameters and sparse gradients.

    State: tensors and plain numbers only, so ``torch.load(weights_only=True)`` reads it. With "reset", statistics exist
    only for what is in the set; which units those are is recomputed, never saved. Statistics have the parameter's
    dtype; step counts (key "step") and bases are at least float32. The period follows ``group["step"]``, the number
    of steps in which any parameter had a gradient.

    >>> weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    >>> optimizer = Frugal([("weight", weight)], lr=0.25, density=0.0, state_free="signsgd")
    >>> (weight @ weight).backward()
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, 0.75]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        density: float = 0.25,
        update_gap: int = 200,
        subspace: str = "blocks",
        state_full: str | Mapping[str, Any] | config.StateFull = "adamw",
        state_free: str | Mapping[str, Any] | config.StateFree = "signsgd",
        betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        state_free_lr_scale: float = 1.0,
        on_update: str = "reset",
        seed: int = 0,
        *,
        beta: float = 0.9,
        off_set_momentum: str = "reset",
        set: Iterable[int] | None = None,
        sampling: str = "independent",
        order: str = "random",
        bases: Mapping[str, Any] | None = None,
        split: bool | str = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "density": density,
            "update_gap": update_gap,
            "subspace": subspace,
            "set": None if set is None else tuple(set),
            "sampling": sampling,
            "order": order,
            "state_full": state_full,
            "state_free": state_free,
            "state_free_lr_scale": state_free_lr_scale,
            "betas": betas,
            "eps": eps,
            "beta": beta,
            "weight_decay": weight_decay,
            "on_update": on_update,
            "off_set_momentum": off_set_momentum,
            "seed": seed,
            "split": split,
            "step": 0,
        }
        defaults = param_groups.flat(defaults)
        if defaults["betas"] is None:
            defaults["betas"] = param_groups.rule_defaults(defaults["state_full"]).get("betas", (0.9, 0.999))
        self._parts: dict[int, tuple[int, list[Part]]] = {}
        self._bases = dict(bases or {})
        super().__init__(params, defaults)
        self._bases = {}  # what is needed of them is now in the state

    @classmethod
    def from_config(
        cls,
        model: nn.Module,
        algorithm: config.Algorithm,
        lr: float | Tensor | None = None,
        bases: Mapping[str, Any] | None = None,
    ) -> Frugal:
        """The optimizer that an experiment's ``[algorithm]`` table describes, for all trainable parameters of a model.

        Which parameters are split is said in :func:`frugal_gpu.optim.groups.model_groups`. ``lr`` replaces the
        algorithm's learning rate. Raises ValueError if that is a fraction of the admissible step and ``lr`` is None.
        """
        if lr is None:
            if isinstance(algorithm.learning_rate, config.FractionOfAdmissible):
                raise ValueError(
                    "algorithm.learning_rate is a fraction of the admissible step, which only a theorem can turn into "
                    "a number; pass it as Frugal.from_config(model, algorithm, lr=α) or write a number in the experiment"
                )
            lr = algorithm.learning_rate
        groups = param_groups.model_groups(model, algorithm)
        return cls(groups, lr=lr, bases=bases, **param_groups.options(algorithm))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in torch; options it does not set are the constructor's. Raises ValueError for bad options.

        A group that changes the state-full rule starts from that rule's own hyperparameters.
        """
        group = param_groups.flat(param_group)
        bases = group.pop("bases", None) or self._bases
        if group.get("state_full", self.defaults["state_full"]) != self.defaults["state_full"]:
            group = {**param_groups.rule_defaults(group["state_full"]), **group}
        if group.get("set") is not None:
            group["set"] = tuple(group["set"])
        super().add_param_group(group)
        try:
            param_groups.checked(group)
            self._check_parameters(len(self.param_groups) - 1)
            self._set_bases(len(self.param_groups) - 1, bases)
        except Exception:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, as in torch; step counts and bases keep their precision, and nothing is shared with the source."""
        loaded: dict[str, Any] = {}
        hook = self.register_load_state_dict_pre_hook(lambda _, given: loaded.update(given))
        try:
            super().load_state_dict(state_dict)
        finally:
            hook.remove()
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        saved = [index for group in loaded["param_groups"] for index in group["params"]]
        for index, parameter in zip(saved, parameters, strict=True):
            exact = at_least_float32(parameter.dtype)
            state, source = self.state.get(parameter, {}), loaded["state"].get(index, {})
            _own(state, source, parameter.device, exact)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._parts, self._bases = {}, {}

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of Algorithm 1; with a closure, evaluate it first and return its loss.

        Parameters without a gradient are left alone. Nothing happens, and nothing advances, in a step without any
        gradient, or with lr = 0 and zero gradients (with which distributed checkpoints probe an optimizer).
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if any(self._has_something_to_do(group) for group in self.param_groups):
            for index, group in enumerate(self.param_groups):
                self._step_group(index, group)
                group["step"] += 1
        return loss

    def _has_something_to_do(self, group: dict[str, Any]) -> bool:
        gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
        return bool(gradients) and (float(group["lr"]) != 0 or any(bool(gradient.any()) for gradient in gradients))

    def _step_group(self, index: int, group: dict[str, Any]) -> None:
        """Enter a new period if it is time, and take the step: by an accelerator of the rules, or by their formulas."""
        period, within = divmod(group["step"], group["update_gap"])
        full, free = param_groups.rules_of(group)
        rule = accelerated(full) if group["state_free"] in param_groups.FLAT["state_free"] else None
        if rule is None:
            self._step_by_formula(index, group, (full, free))
            return
        if within == 0 and period > 0 and group["off_set_momentum"] == "reset":
            self._follow_units(index, period)
        shares: dict[Any, list[Share]] = defaultdict(list)
        for parameter, name, part in self._with_gradients(index, period):
            gradient = parameter.grad
            assert gradient is not None
            if isinstance(part, Turning):
                chosen: Chosen = self._basis(group, rule, parameter, gradient, name, part, period)
            else:
                chosen = part
            share = take_share(rule, parameter, chosen, self.state)
            shares[share.kind].append(share)
        for alike in shares.values():
            apply(group, rule, alike)

    def _step_by_formula(self, index: int, group: dict[str, Any], rules: tuple[Rule, Rule]) -> None:
        """The same, parameter by parameter."""
        period, within = divmod(group["step"], group["update_gap"])
        if within == 0 and period > 0:
            self._carry_units(index, group, rules[0], period)
        alpha, reading = float(group["lr"]), group["off_set_momentum"]
        for parameter, name, turning in self._with_gradients(index, period):
            gradient, state = parameter.grad, self.state[parameter]
            assert gradient is not None
            columns = state.get("basis")
            if isinstance(turning, Turning) and group["subspace"] != "eigen" and state.get("period") != period:
                key = selection_key(group["seed"], name, period)
                state["basis"] = choose_basis(group["subspace"], key, turning, gradient).columns
                state["period"] = period
                if columns is not None:
                    old, new = (formula.part_of(turning, parameter, reading, basis) for basis in (columns, state["basis"]))
                    formula.carry(rules[0], group, state, gradient, old, new)
            part = formula.part_of(turning, parameter, reading, state.get("basis"))
            u = formula.update(rules, group, state, gradient, part)
            parameter.mul_(1 - alpha * group["weight_decay"]).sub_(u.to(parameter.dtype), alpha=alpha)

    def _carry_units(self, index: int, group: dict[str, Any], rule: Rule, period: int) -> None:
        """Carry the states of units into a new period, those of parameters that have no gradient in this step, too."""
        before, after = self._period_parts(index, period - 1), self._period_parts(index, period)
        for parameter, *parts in zip(group["params"], before, after, strict=True):
            if "full" in self.state.get(parameter, {}) and not isinstance(parts[0], Turning):
                old, new = (formula.part_of(part, parameter, group["off_set_momentum"]) for part in parts)
                formula.carry(rule, group, self.state[parameter], parameter, old, new)

    def _with_gradients(self, index: int, period: int) -> Iterator[tuple[Tensor, str, Part]]:
        """The parameters of a group that have a gradient, each with its name and part. RuntimeError for a sparse gradient."""
        parts = self._named_parts(index, period)
        for parameter, (name, part) in zip(self.param_groups[index]["params"], parts, strict=True):
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError(f"Frugal: the gradient of {name} is sparse; only dense gradients are supported")
            yield parameter, name, part

    def _named_parts(self, index: int, period: int) -> list[tuple[str, Part]]:
        return list(zip(self._names(index), self._period_parts(index, period), strict=True))

    def _follow_units(self, index: int, period: int) -> None:
        """At a new period, under "reset": units that stay keep their statistics, those that leave lose them."""
        before = self._period_parts(index, period - 1)
        after = self._period_parts(index, period)
        for parameter, old, new in zip(self.param_groups[index]["params"], before, after, strict=True):
            if parameter not in self.state:
                continue
            if isinstance(new, Free):
                del self.state[parameter]
            elif isinstance(new, Units) and isinstance(old, Units):
                state = self.state[parameter]
                state.update({name: new.select(old.lift(value)) for name, value in state.items()})

    def _basis(
        self,
        group: dict[str, Any],
        rule: InPlace,
        parameter: Tensor,
        gradient: Tensor,
        name: str,
        part: Turning,
        period: int,
    ) -> Basis:
        """The parameter's basis in this period; a new one resets, keeps or turns the statistics (``on_update``)."""
        state = self.state[parameter]
        old = Basis(state["basis"], part.side, part.shape) if "basis" in state else None
        if old is not None and (group["subspace"] == "eigen" or state["period"] == period):
            return old
        if group["subspace"] == "eigen":
            raise ValueError(f'Frugal: subspace "eigen" has no basis for {name} in its state; pass bases={{name: columns}}')
        new = choose_basis(group["subspace"], selection_key(group["seed"], name, period), part, gradient)
        if old is not None and group["on_update"] == "reset":
            state.clear()
        elif old is not None and group["on_update"] == "project":
            for key in rule.vectors + rule.squares:
                state[key] = new.turn(old, state[key], square=key in rule.squares)
        state["basis"], state["period"] = new.columns, period
        return new

    def _period_parts(self, index: int, period: int) -> list[Part]:
        """The parts of a group in a period: a pure function, kept until another period is asked for."""
        if self._parts.get(index, (None, []))[0] != period:
            blocks_key = "blocks" if index == 0 else f"blocks.{index}"
            self._parts[index] = period, choose_parts(self.param_groups[index], self._names(index), blocks_key, period)
        return self._parts[index][1]

    def _names(self, index: int) -> list[str]:
        """The names of a group's parameters; without names, their positions in the optimizer."""
        group = self.param_groups[index]
        if "param_names" in group:
            names: list[str] = group["param_names"]
            return names
        start = sum(len(other["params"]) for other in self.param_groups[:index])
        return [str(start + i) for i in range(len(group["params"]))]

    def _check_parameters(self, index: int) -> None:
        for name, parameter in zip(self._names(index), self.param_groups[index]["params"], strict=True):
            if parameter.is_complex():
                raise RuntimeError(f"Frugal: parameter {name} is complex; only real parameters are supported")

    def _set_bases(self, index: int, bases: Mapping[str, Any]) -> None:
        """Put the leading columns of the given bases into the state (subspace "eigen")."""
        group = self.param_groups[index]
        if group["subspace"] != "eigen":
            return
        for parameter, name, part in zip(group["params"], self._names(index), self._period_parts(index, 0), strict=True):
            if not isinstance(part, Turning):
                continue
            if name not in bases:
                given = ", ".join(bases) or "none"
                raise ValueError(
                    f'Frugal: subspace "eigen" needs bases={{name: orthonormal columns}}; {name} is missing (given: {given})'
                )
            columns = bases[name] if isinstance(bases[name], Tensor) else torch.from_numpy(np.array(bases[name]))
            if columns.dim() != 2 or columns.shape[0] != part.length or columns.shape[1] < part.rank:
                raise ValueError(
                    f"Frugal: the basis of {name} has shape {tuple(columns.shape)}; "
                    f"allowed: {part.length} rows and at least {part.rank} columns"
                )
            exact = columns[:, : part.rank].to(parameter.device, at_least_float32(parameter.dtype))
            self.state[parameter]["basis"] = exact.clone(memory_format=torch.contiguous_format)


def _own(state: dict[str, Any], source: Mapping[str, Any], device: torch.device, exact: torch.dtype) -> None:
    """Make every tensor of a loaded state its own, step counts and bases in their full precision."""
    for key, value in state.items():
        if isinstance(value, dict):
            _own(value, source[key], device, exact)
        elif isinstance(value, Tensor):
            kept = source[key].to(device, exact) if key in ("step", "count", "basis") else value
            state[key] = kept.clone()
