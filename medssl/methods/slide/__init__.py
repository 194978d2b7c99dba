"""Classifiers of whole slides, from the features of their patches (multiple-instance learning)."""
