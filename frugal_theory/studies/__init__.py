"""Studies: a question, what is measured for it, how that is drawn, and what it answers."""
