"""FRUGAL in practice: the PyTorch optimizer and the LLaMA trainer that run the experiment's algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frugal_gpu.optim import Frugal
    from frugal_gpu.optim.build import build_optimizer

__all__ = ["Frugal", "build_optimizer"]


def __getattr__(name: str) -> Any:
    """``Frugal`` is imported when first used, so that the command line answers before torch has been loaded."""
    if name == "Frugal":
        from frugal_gpu.optim import Frugal

        return Frugal
    if name == "build_optimizer":
        from frugal_gpu.optim.build import build_optimizer

        return build_optimizer
    raise AttributeError(f"module 'frugal_gpu' has no attribute {name!r}")
