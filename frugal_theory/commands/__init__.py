"""The command line: frugal-theory."""
