"""Whole slides as data: reading, tissue, tiles."""
