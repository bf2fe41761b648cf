"""FRUGAL in practice: the PyTorch optimizer and the LLaMA trainer that run the experiment's algorithm."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frugal_gpu.optim import Frugal
    from frugal_gpu.optim.build import build_optimizer

__all__ = ["Frugal", "build_optimizer"]

_HOME = {"Frugal": "frugal_gpu.optim", "build_optimizer": "frugal_gpu.optim.build"}


def __getattr__(name: str) -> Any:
    """``Frugal`` is imported when first used, so that the command line answers before torch has been loaded."""
    if name not in _HOME:
        raise AttributeError(f"module 'frugal_gpu' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        from frugal_theory.config.extras import missing

        raise ModuleNotFoundError(missing(error.name) or str(error), name=error.name) from None


def __dir__() -> list[str]:
    return __all__
