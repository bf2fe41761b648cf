"""Worst-case evidence: over all L-smooth functions, by semidefinite programs."""
