"""Steps within the backward pass: a parameter is stepped as its gradient arrives, and the gradient is freed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["InBackward"]


class InBackward:
    """Hooks on the parameters of an optimizer; ``step_group(index)`` steps those of a group that have a gradient.

    At that moment only the parameter at hand has one, so it is stepped as in ``step()``, by the same backend and in the same
    order of operations. What needs all gradients at once (accumulation over several passes, clipping by a global norm, a mean
    over processes) cannot be had.
    """

    def __init__(self, step_group: Callable[[int], None]) -> None:
        self._step_group = step_group
        self._stepped: set[Tensor] = set()

    def watch(self, index: int, parameters: Sequence[Tensor], names: Sequence[str]) -> None:
        """Step these parameters of a group from now on when they get a gradient."""
        for parameter, name in zip(parameters, names, strict=True):
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._hook(index, name))  # type: ignore[no-untyped-call]

    def _hook(self, index: int, name: str) -> Any:
        @torch.no_grad()
        def hook(parameter: Tensor) -> None:
            if (
                torch.distributed.is_available()
                and torch.distributed.is_initialized()
                and torch.distributed.get_world_size() > 1
            ):
                raise RuntimeError(
                    f"Frugal: update_in_backward = True steps {name} before its gradient is averaged over processes; "
                    "allowed: one process, or update_in_backward = False"
                )
            if parameter in self._stepped:
                raise RuntimeError(
                    f"Frugal: update_in_backward = True: {name} has a second gradient before step(), and the first is spent; "
                    "allowed: one backward pass a step, or update_in_backward = False to accumulate"
                )
            self._step_group(index)
            parameter.grad = None
            self._stepped.add(parameter)

        return hook

    def end(self) -> bool:
        """End a step; whether any parameter was stepped in it."""
        stepped, self._stepped = self._stepped, set()
        return bool(stepped)
