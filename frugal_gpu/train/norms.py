"""The norm of all gradients where no more than one of them is held."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["Norms"]


class Norms:
    """Hooks that see the gradient of every parameter of a model before it is used."""

    def __init__(self, model: nn.Module) -> None:
        self._seen: dict[int, Tensor] = {}
        for place, parameter in enumerate(model.parameters()):
            if parameter.requires_grad:
                parameter.register_hook(partial(self._see, place))  # type: ignore[no-untyped-call]

    def _see(self, place: int, gradient: Tensor) -> None:
        self._seen[place] = torch._foreach_norm([gradient])[0]

    def total(self) -> Tensor:
        """‖g‖ over all gradients since it was asked last, as ``torch.nn.utils.get_total_norm`` has it of all together."""
        norms, self._seen = [self._seen[place] for place in sorted(self._seen)], {}
        return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
