"""Plugins away from any proxy: over recorded flows, with a clock that stands and no network."""
