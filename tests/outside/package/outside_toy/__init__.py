"""A package that adds one of each thing to medssl; a pattern for packages of your own."""
