"""The services that ours is measured against, each as its framework's own documentation would have one write it.

They share the network's weights, how a picture becomes a tensor and how relevance becomes a PNG
(`benchmarks.peers.common`), so that what differs is the serving and the explaining.
"""
