"""Radiographs: reading, crops, checks, label budgets, streams."""
