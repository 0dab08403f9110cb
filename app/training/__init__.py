"""Training and evaluation of MiniVGG. Serving needs none of it."""
