"""The sockets: listeners, client connections, upstream connections, TLS."""
