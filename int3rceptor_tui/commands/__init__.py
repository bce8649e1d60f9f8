"""What the user can say, by key, in the command palette and at the `:` prompt, and who does it."""
