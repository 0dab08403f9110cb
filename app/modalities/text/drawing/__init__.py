"""Drawings of the relevance of words."""
