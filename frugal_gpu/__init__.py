"""FRUGAL in practice: the PyTorch optimizer and the LLaMA trainer that run the experiment's algorithm."""

from frugal_gpu.optim import Frugal

__all__ = ["Frugal"]
