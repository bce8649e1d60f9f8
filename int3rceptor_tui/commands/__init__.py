"""The command palette and the `:` prompt: two ways to the same actions."""
