"""Methods that learn to segment volumes."""
