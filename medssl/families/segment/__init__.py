"""Pipelines of the family "segment": from volumes to masks on their own grids."""
