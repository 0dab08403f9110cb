"""Kinds of input in the serving protocols: one module for each, and a table of them."""
