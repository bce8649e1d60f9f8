"""Widgets: they draw, and know nothing of where their data comes from."""
