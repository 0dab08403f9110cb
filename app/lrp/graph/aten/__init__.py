"""Translations of ATen's operators into operations of the graph, one file a family."""
