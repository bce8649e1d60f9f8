"""The proxy as a library: it knows sockets, plugins and flows, and nothing of a terminal."""
