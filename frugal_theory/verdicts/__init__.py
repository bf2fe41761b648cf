"""Verdicts: theorem × evidence, judged at a few horizons, with trials added until they are settled."""
