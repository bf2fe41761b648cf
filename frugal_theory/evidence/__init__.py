"""Evidence: Monte Carlo, exact and worst-case."""
