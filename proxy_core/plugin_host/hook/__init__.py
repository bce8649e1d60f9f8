"""One entry into a guest: what it is about, what it edits, and how that gets onto the flow."""
