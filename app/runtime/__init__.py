"""Where work runs: threads, processes and batches."""
