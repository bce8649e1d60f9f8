"""How news travels inside the core: topics that never block, rings that never grow."""
