"""Questions about the method, each answered by one experiment: NAME.toml beside NAME.py, which measures, draws and answers."""
