"""Results on disk: what lies in a run's folder, written and read."""
