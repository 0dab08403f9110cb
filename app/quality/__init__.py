"""How good explanations are: measures of maps, as pure functions of arrays."""
