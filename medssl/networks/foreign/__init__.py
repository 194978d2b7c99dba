"""Encoders of other projects, from their files to networks of medssl, exactly."""
