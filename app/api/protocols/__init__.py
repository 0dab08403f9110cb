"""The serving protocols KServe V1 and Open Inference V2."""
