"""Forward and relevance functions of layers, one file for each family."""
