"""Surveys of texts: words that count for each class, and words without which predictions change."""
