"""Learning algorithms: one file each, one contract (method.py), settings beside them."""
