"""ABIs that others have specified, so that their filters run here unchanged."""
