"""From a request's data to its answer, without HTTP."""
