"""LRPServe: class scores and relevance heatmaps over HTTP."""
