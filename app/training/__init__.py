"""Training and evaluation of MiniVGG; nothing here is needed to serve."""
