"""Transformations of a graph that leave what it computes unchanged, one file each."""
