"""Control over HTTP, for scripts and other programs; docs/api.md has every route."""
