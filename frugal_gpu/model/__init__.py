"""Models: LLaMA in the published shapes."""
