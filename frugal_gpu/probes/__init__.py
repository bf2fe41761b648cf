"""Probes: what is measured on a model during training, without changing the run by a bit."""

from frugal_gpu.probes.objective import Objective
from frugal_gpu.probes.probe import Moment, Probe, add_probe, measure
from frugal_gpu.probes.watch import Watch, sample_size

__all__ = ["Moment", "Objective", "Probe", "Watch", "add_probe", "measure", "sample_size"]
