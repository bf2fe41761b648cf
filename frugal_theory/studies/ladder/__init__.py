"""The ladder: every engine and theorem on one short run, each of which must lie below the next."""

from frugal_theory.studies.ladder.ladder import Ladder, ladder, ladders
from frugal_theory.studies.ladder.rung import Comparison, Rung

__all__ = ["Comparison", "Ladder", "Rung", "ladder", "ladders"]
