"""The documentation, and the commands that draw its pictures and fill in its tables."""
