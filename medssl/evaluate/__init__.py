"""Scores, their statistics, and the report."""
