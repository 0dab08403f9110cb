"""What is particular to a kind of input in answers: one module for each kind, and a table of them."""
