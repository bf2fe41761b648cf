"""Instance: one cell of an experiment made ready, which the engines take whole."""
