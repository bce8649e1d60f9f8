"""A plugin's files: found, read, judged and watched."""
