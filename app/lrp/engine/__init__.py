"""Relevance without autograd: compilation and execution."""
