"""Exact evidence: expectations of Algorithm 2 on a quadratic, without sampling."""
