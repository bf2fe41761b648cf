"""Accelerators of rules: faster ways to the same formula."""
