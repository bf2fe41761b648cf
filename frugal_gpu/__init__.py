"""FRUGAL in practice: the PyTorch optimizer and the LLaMA trainer that run the experiment's algorithm."""
