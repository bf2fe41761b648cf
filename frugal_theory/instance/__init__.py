"""Instance: one cell made ready, made once and passed whole to evidence, premises and verdicts."""

from frugal_theory.instance.instance import Instance, instance_of, resolved, setting_of, starting_point

__all__ = ["Instance", "instance_of", "resolved", "setting_of", "starting_point"]
