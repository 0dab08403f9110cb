"""Documentation, and the commands that draw its pictures and write its tables."""
