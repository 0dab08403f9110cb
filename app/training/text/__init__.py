"""Training of networks that classify text."""
