"""Methods that grade radiographs."""
