"""What belongs to a plugin and not to one version of it: its state, its figures, its grants."""
