"""FRUGAL (Algorithm 1, arXiv 2411.07837) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from frugal_gpu.optim import groups as param_groups
from frugal_gpu.optim.adding import check_added, completed
from frugal_gpu.optim.arranging import Arrangement, arrangement_of, model_groups
from frugal_gpu.optim.finite import check_finite
from frugal_gpu.optim.graphs import count_replays, is_captured
from frugal_gpu.optim.in_backward import InBackward
from frugal_gpu.optim.loading import Loading, complete, prepared
from frugal_gpu.optim.names import canonical
from frugal_gpu.optim.periods import UNBEGUN, Periods, given_bases
from frugal_gpu.optim.placement import is_sharded
from frugal_gpu.optim.plan import Plan, warn_of_many
from frugal_gpu.optim.saving import asked_by_a_checkpoint, whole_group, whole_states
from frugal_gpu.optim.stepping import something_to_do, step_group
from frugal_theory import config

__all__ = ["Frugal"]


class Frugal(torch.optim.Optimizer):
    """State-full rule on a subspace of density ρ, state-free rule on the rest; the subspace changes every T steps.

    For every parameter, with P the map onto its state-full part in the present period::

        g_full = P(g)
        g_free = g − P⁻¹(g_full)
        u      = P⁻¹(state_full(g_full)) + state_free_lr_scale · state_free(g_free)
        x      ← (1 − lr · weight_decay) x − lr · split_lr_scale · u

    Args:
        params: parameters, ``(name, parameter)`` pairs (``model.named_parameters()``), dicts of groups, or a model. Names
            enter the selection (those of wrappers do not): with names, a run draws the subspaces that the NumPy engine draws.
            They say what is split, too (see ``split``); of parameters without names nothing is known, and all are split.
        lr: α, a number or a tensor.
        density: ρ, the state-full fraction, 0 to 1. ρ = 1 is the state-full rule alone, ρ = 0 the state-free rule.
        update_gap: T, the steps of a period.
        subspace: "blocks" (a block is a parameter; one that is larger than ρ of all of them is divided by rows),
            "columns", "rows", "randk", "coordinates", "random", "svd", "gaussian" or "eigen". A vector under "columns",
            "rows", "svd" and "gaussian" is state-full as a whole; a parameter with more than two dimensions is treated as
            the matrix ``(shape[0], -1)``, unless ``experts`` says that it is several.
        state_full: "adamw", "lion" or "sgdm", or a table such as ``{"rule": "lion", "betas": (0.9, 0.99)}``.
        state_free: "signsgd", "sgd" or "none".
        betas: (β₁, β₂); by default (0.9, 0.999) for AdamW and (0.9, 0.99) for Lion.
        eps: ε of AdamW.
        beta: β of SGDM; in the groups it is the first of ``betas``, which learning-rate schedulers move.
        weight_decay: decoupled weight decay of the whole parameter.
        state_free_lr_scale: factor of the state-free update.
        on_update: what a new basis ("random", "svd") does with statistics: "reset", "keep" or "project".
        off_set_momentum: what leaving the set does with a unit's statistics: "reset" (forget), "decay" (they see zero
            gradients) or "hold" (they freeze). Only "reset" saves memory.
        seed: of the selection, a pure function of (seed, parameter name, period).
        set: coordinates that are always state-full, instead of a draw (subspace "coordinates").
        sampling: "independent" or "fixed_size" (subspace "coordinates").
        order: "random", "ascending", "descending", "mirror" (there and back) or "inward" (both ends in turn; "blocks").
        blocks: what a block is: "tensor" or "layer" (a name up to and including its first number).
        experts: whether a parameter of shape (E, m, n), as mixtures of experts have, is treated as E matrices, each with a
            basis, columns, rows or coordinates of its own: those that the matrix "NAME.e" would have. Others are as without it.
        rank: instead of the density, for a basis: how many directions.
        side: where a basis acts on an m×n matrix: "std" (left if m < n, right if m ≥ n), "reverse", "left" or "right".
        split_lr_scale: factor on the learning rate of what is split, and not on its decay.
        projector: "exact", or "randomised" for singular vectors by subspace iteration (subspace "svd"): a refresh then costs
            a few ordinary steps.
        refresh: "together" (all bases in one step of a period) or "staggered" (each begins its periods at a step of its own,
            basis i of n after ⌊i·T/n⌋ steps; the first step draws all).
        bases: for subspace "eigen", the orthonormal columns of each parameter by name, leading ones first.
        split: True (split by the subspace), "state_full" or "state_free" (as a whole). By default a named parameter is
            treated as ``from_config`` treats it: matrices are split but for those below a module named like embed, head,
            lm_head, classifier or score; these, biases, norms and other vectors of modules are state-full.
        norms, biases, embeddings, output: how these are treated instead: "state_full", "split", "state_free", or a
            state-full rule of their own.
        rules: pairs (regular expression, options of a group): the first whose expression is found in a parameter's name
            gives it its options; ``lr_scale`` is a factor of lr. One that speaks of no parameter is refused.
        unmatched: "default", or "error" to refuse a trainable parameter that no rule matches.
        maximize: step along the gradient instead of against it.
        foreach, fused: ask for a way to step, as with torch's optimizers; None leaves the choice.
        capturable: count steps on the device, so that ``step()`` can be captured in a CUDA graph (see below).
        differentiable: torch's flag; only False is allowed.
        state_dtype: dtype of the statistics, by default the parameter's, but float32 for bfloat16 and float16; "8bit" keeps
            moments of 4096 numbers and more in eight bits, in blocks of 256 with a scale each (not with "hold").
        stochastic_rounding: round bfloat16 parameters up or down by chance, so that steps smaller than their
            precision count on average; the chance is a pure function of (seed, name, step, coordinate).
        check_finite: name gradients that are not finite before anything is touched (RuntimeError): True, False or
            "auto", which is True on the CPU; elsewhere the host would wait for the device in every step.
        backend: what takes the step: "auto" (the fastest that is there), "fused" (a CPU, one pass over the numbers), "triton"
            (a GPU, one launch for many tensors), "foreach" (lists of tensors) or "formula" (the rules' own text). All follow
            the formula up to rounding; where an option is changed inside a period, "formula" may begin statistics anew that
            the others carry on.
        update_in_backward: step a parameter as its gradient arrives and free the gradient, in one backward pass a step;
            ``step()`` then ends the step. Gradients cannot be accumulated, nor clipped by their global norm.

    Every option from ``lr`` to ``split`` may be set by group. Raises ValueError for values that cannot be run, RuntimeError
    for complex parameters and sparse gradients.

    State: tensors and plain values only, so ``torch.load(weights_only=True)`` reads it. With "reset", statistics exist
    only for what is in the set; which units those are is recomputed, never saved. Statistics have ``state_dtype``; step
    counts (key "step") and bases are at least float32, and so is the arithmetic. A group counts the steps in which any
    parameter had a gradient ("step") and its periods ("period", and "began": the step with which the present one began).

    Graphs: with ``capturable=True`` an ordinary step can be captured after one outside in the same period, for the rest of
    its ``update_gap`` steps. Replays are told to :meth:`count_replays`; then a step outside begins the next period, and a graph
    is captured again. A number as ``lr`` is the graph's for good, a tensor on the device is read in every replay.

    >>> weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    >>> optimizer = Frugal([("weight", weight)], lr=0.25, density=0.0, state_free="signsgd")
    >>> (weight @ weight).backward()
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, 0.75]
    """

    def __init__(
        self,
        params: Iterable[Any] | nn.Module,
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
        beta: float | None = None,
        off_set_momentum: str = "reset",
        set: Iterable[int] | None = None,
        sampling: str = "independent",
        order: str = "random",
        projector: str = "exact",
        refresh: str = "together",
        bases: Mapping[str, Any] | None = None,
        split: bool | str | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        state_dtype: str | torch.dtype | None = None,
        stochastic_rounding: bool = False,
        check_finite: bool | str = "auto",
        backend: str = "auto",
        update_in_backward: bool = False,
        blocks: str = "tensor",
        experts: bool = False,
        rank: int | None = None,
        side: str = "std",
        split_lr_scale: float = 1.0,
        norms: Any = "state_full",
        biases: Any = "state_full",
        embeddings: Any = "state_full",
        output: Any = "state_full",
        rules: Sequence[tuple[str, Mapping[str, Any]]] = (),
        unmatched: str = "default",
    ) -> None:
        self._arrangement = Arrangement(rules, split, norms, biases, embeddings, output, unmatched)
        defaults = {
            "lr": lr,
            "density": density,
            "rank": rank,
            "update_gap": update_gap,
            "subspace": subspace,
            "side": side,
            "set": None if set is None else tuple(set),
            "sampling": sampling,
            "order": order,
            "projector": projector,
            "refresh": refresh,
            "blocks": blocks,
            "experts": experts,
            "state_full": state_full,
            "state_free": state_free,
            "state_free_lr_scale": state_free_lr_scale,
            "betas": betas,
            "eps": eps,
            "beta": beta,
            "weight_decay": weight_decay,
            "split_lr_scale": split_lr_scale,
            "on_update": on_update,
            "off_set_momentum": off_set_momentum,
            "seed": seed,
            "split": True if split is None else split,
            "backend": backend,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
            "capturable": capturable,
            "differentiable": differentiable,
            "state_dtype": state_dtype,
            "stochastic_rounding": stochastic_rounding,
            "check_finite": check_finite,
            **UNBEGUN,
        }
        defaults = param_groups.flat(defaults)
        if defaults["betas"] is None:
            defaults["betas"] = param_groups.rule_defaults(defaults["state_full"]).get("betas", (0.9, 0.999))
        self._periods = Periods()
        self._bases = {canonical(name): basis for name, basis in (bases or {}).items()}
        self._loading: Loading | None = None
        if not isinstance(update_in_backward, bool):
            raise ValueError(f"Frugal: update_in_backward = {update_in_backward!r}: allowed: True, False")
        self._in_backward = InBackward(self._step_as_it_arrives) if update_in_backward else None
        super().__init__(model_groups(params, self._arrangement) if isinstance(params, nn.Module) else params, defaults)
        self._arrangement.check_all_used()
        self._bases = {}  # what is needed of them is now in the state
        warn_of_many(self)

    @classmethod
    def plan(cls, params: Iterable[Any] | nn.Module, **options: Any) -> Plan:
        """What makes optimizers of shares of these parameters that together are this one: ``plan([parameter])``.

        For updates in backward, CPU offload and whatever makes an optimizer of its own for every parameter.
        """
        return Plan(cls(params, **options))

    @classmethod
    def per_parameter(cls, params: Iterable[Any] | nn.Module, **options: Any) -> dict[Tensor, Frugal]:
        """One optimizer a trainable parameter; together they are ``Frugal(params, **options)``, with its density."""
        whole = cls(params, **options)
        plan = Plan(whole)
        return {x: plan([x]) for group in whole.param_groups for x in group["params"] if x.requires_grad}

    @classmethod
    def from_config(
        cls,
        model: nn.Module,
        algorithm: config.Algorithm,
        lr: float | Tensor | None = None,
        bases: Mapping[str, Any] | None = None,
        **practice: Any,
    ) -> Frugal:
        """The optimizer that an experiment's ``[algorithm]`` table describes, for all trainable parameters of a model.

        Which parameters are split is said in :func:`frugal_gpu.optim.arranging.model_groups`. ``lr`` replaces the
        algorithm's learning rate. ``practice``: what no algorithm says, such as ``state_dtype`` or ``backend``. Raises
        ValueError if the learning rate is a fraction of the admissible step and ``lr`` is None.
        """
        if lr is None:
            if isinstance(algorithm.learning_rate, config.FractionOfAdmissible):
                raise ValueError(
                    "algorithm.learning_rate is a fraction of the admissible step, which only a theorem can turn into "
                    "a number; pass it as Frugal.from_config(model, algorithm, lr=α) or write a number in the experiment"
                )
            lr = algorithm.learning_rate
        groups = model_groups(model, arrangement_of(algorithm))
        return cls(groups, lr=lr, bases=bases, **param_groups.options(algorithm), **practice)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in torch; options it does not set are the constructor's. Raises ValueError for bad options.

        A group that changes the state-full rule starts from that rule's own hyperparameters.
        """
        if not isinstance(param_group, dict):
            super().add_param_group(param_group)  # torch's words for what is none
        if isinstance(param_group["params"], Iterator):
            param_group = {**param_group, "params": list(param_group["params"])}
        added = len(self.param_groups)
        try:
            for group in self._arrangement.groups(param_group):
                self._add(group)
        except Exception:
            for group in self.param_groups[added:]:
                for parameter in group["params"]:
                    self.state.pop(parameter, None)
            del self.param_groups[added:]
            self._periods = Periods()
            raise

    def _add(self, given: dict[str, Any]) -> None:
        group = completed(given, self.defaults)
        bases = {canonical(name): basis for name, basis in (group.pop("bases", None) or {}).items()} or self._bases
        super().add_param_group(group)
        index = len(self.param_groups) - 1
        names = param_groups.names_of(self.param_groups, index)
        check_added(group, names)
        if group["subspace"] == "eigen":
            given_bases(self.param_groups, index, bases, self._periods.parts(self.param_groups, index), self.state)
        if self._in_backward is not None:
            self._in_backward.watch(index, group["params"], names)

    def state_dict(self) -> dict[str, Any]:
        """The state, as in torch. What distributed checkpoints ask for, and what belongs to sharded parameters, is the whole
        form of it (:mod:`frugal_gpu.optim.saving`), in which shapes depend neither on the period nor on the number of ranks.
        """
        result = super().state_dict()
        if asked_by_a_checkpoint() or any(is_sharded(x) for group in self.param_groups for x in group["params"]):
            result["state"] = whole_states(self.param_groups, self._periods, self.state)
            result["param_groups"] = [whole_group(group) for group in result["param_groups"]]
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, as in torch: the options of the state replace the present ones, and statistics go where they belong.

        With names on both sides they decide which state is whose, otherwise positions do. Options that the state lacks (of an
        older version) stay as they are. Step counts and bases keep their precision, and nothing is shared with the source.
        Raises ValueError, before anything is changed, for a state that does not belong here, naming the group or parameter.
        """

        def prepare(_: torch.optim.Optimizer, given: dict[str, Any]) -> dict[str, Any]:
            self._loading = prepared(self.param_groups, given)
            return {**given, "state": {}, "param_groups": self._loading.groups}

        hook = self.register_load_state_dict_pre_hook(prepare)
        try:
            super().load_state_dict(state_dict)
        finally:
            hook.remove()
            self._loading = None

    def __getstate__(self) -> dict[str, Any]:
        own = {"_arrangement": self._arrangement, "_stepping_in_backward": self._in_backward is not None}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._periods, self._bases = Periods(), {}
        self.__dict__.setdefault("_arrangement", Arrangement())
        for group in self.param_groups:
            complete(group, self.defaults)
        if (loading := self.__dict__.setdefault("_loading", None)) is not None:
            self.state.update(loading.states)
        in_backward = self.__dict__.pop("_stepping_in_backward", False)
        if "_in_backward" not in self.__dict__:  # a copy's parameters have none of the hooks
            self._in_backward = InBackward(self._step_as_it_arrives) if in_backward else None
            for index, group in enumerate(self.param_groups if in_backward else ()):
                assert self._in_backward is not None
                self._in_backward.watch(index, group["params"], param_groups.names_of(self.param_groups, index))

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
        self._step_all()
        return loss

    @_disable_dynamo  # under torch.compile it runs as it is: a set that changes would mean a compilation every period
    def _step_all(self) -> None:
        stepped = self._in_backward is not None and self._in_backward.end()
        captured = is_captured(self.param_groups)
        if something_to_do(self.param_groups) or stepped:
            check_finite(self.param_groups)
            for index, group in enumerate(self.param_groups):
                self._step_group(index)
                group["step"] += int(not captured)  # nothing is stepped before the graph is replayed

    def count_replays(self, steps: int = 1) -> None:
        """Count steps that replays of a graph have taken. ValueError if they reach beyond the present period of a group."""
        count_replays(self.param_groups, steps)

    def _step_group(self, index: int) -> None:
        step_group(self.param_groups, index, self._periods, self.state)

    def _step_as_it_arrives(self, index: int) -> None:
        check_finite(self.param_groups)
        self._step_group(index)
