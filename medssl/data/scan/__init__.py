"""Scans of sessions for pre-training: groups on one grid, windows, pairs, matched places."""
