"""The service's own endpoints, one file for each subject."""
