"""From files to patches: geometry, volumes, data specs, checks, splits, cache, streams."""
