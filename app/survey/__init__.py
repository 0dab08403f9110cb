"""Surveys: what explanations of many inputs say of a network, from the inputs to a report."""
