"""The console: everything that knows a terminal."""
