"""The imports of module `env`: what a guest may ask of its host, one file for each kind."""
