"""The algorithm family as a PyTorch optimizer."""

from frugal_gpu.optim.frugal import Frugal

__all__ = ["Frugal"]
