"""What the console shows, worked out without a terminal: plain values in, text and styles out."""
