"""Drawing of relevance, of any kind of input: scales, colours and files."""
