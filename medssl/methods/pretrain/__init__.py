"""Methods that learn an encoder without labels."""
