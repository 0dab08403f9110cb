"""HTTP: middleware, errors, negotiation and uploads."""
