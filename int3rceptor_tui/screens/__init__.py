"""Screens: they lay out widgets and turn keys into calls."""
