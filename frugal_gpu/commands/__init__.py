"""The command line: frugal-gpu."""
