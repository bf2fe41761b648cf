"""Probes: what is measured on a model during training, without changing the run by a bit."""

from frugal_gpu.probes.probe import Moment, Probe, add_probe, measure

__all__ = ["Moment", "Probe", "add_probe", "measure"]
