"""Surveys on the command line: what each kind of input finds, takes and prints."""
