"""The certificate authority: its files, its leaves, the contexts made of them."""
