"""Control: the one interface by which any console drives a core."""
