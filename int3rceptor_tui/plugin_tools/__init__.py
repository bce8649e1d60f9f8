"""`int3rceptor-tui plugin ...`: what a plugin's author needs, without a proxy."""
