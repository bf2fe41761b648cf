"""Training: the loop, what it logs, its checkpoints."""
