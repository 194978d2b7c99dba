"""A plan of spacing, patch, batch and network from what all scans are like; free of torch."""
