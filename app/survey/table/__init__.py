"""Surveys of rows of tables: how much each feature counts, by its value."""
