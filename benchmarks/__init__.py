"""Benchmarks: each prints ratios that were measured in one interleaved run. Not tests: nothing here is asserted."""
