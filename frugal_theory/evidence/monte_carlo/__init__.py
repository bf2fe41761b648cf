"""Monte Carlo evidence: the algorithm run many times, in NumPy or compiled."""
