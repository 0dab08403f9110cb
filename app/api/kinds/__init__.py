"""Kinds of input over HTTP: one module for each, and a table of them."""
