"""Pipelines of the family "grade": from radiographs to grades with calibrated probabilities."""
