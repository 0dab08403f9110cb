"""The network as a chain of layers."""
