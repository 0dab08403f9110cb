"""Services to compare with, each written as its framework's documentation describes.

They share the weights, the decoding of pictures and the drawing of heatmaps (`benchmarks.peers.common`), so
that they differ only in serving and explaining.
"""
