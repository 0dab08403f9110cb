"""Drawings of the relevance of features, as bars."""
