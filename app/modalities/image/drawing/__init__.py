"""Drawing of relevance as heatmaps."""
