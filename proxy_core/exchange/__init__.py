"""The story of one request, told once for every protocol; sockets and plugins are handed in."""
