"""Metrics: what is measured along a run, and bounded by theorems."""
