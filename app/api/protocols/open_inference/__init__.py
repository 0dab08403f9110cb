"""The Open Inference Protocol, V2, with binary tensors as Triton has them."""
