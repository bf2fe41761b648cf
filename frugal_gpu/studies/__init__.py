"""Studies of the trainer: memory, step time."""
