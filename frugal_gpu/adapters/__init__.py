"""Low-rank adapters in place of the full weights, through peft."""
