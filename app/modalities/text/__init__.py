"""Text: tokens, and drawings of their relevance."""
