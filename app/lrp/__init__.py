"""Layer-wise relevance propagation: rules, composites, the engine and the reference."""
