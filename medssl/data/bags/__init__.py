"""Bags of features: what they are, how they are read and put into batches."""
