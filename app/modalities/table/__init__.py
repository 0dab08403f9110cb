"""Rows of tables: numbers and categories, and drawings of their relevance."""
