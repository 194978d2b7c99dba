"""Pipelines of the family "slide": from slides, or bags of features, to slide calls."""
