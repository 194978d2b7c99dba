"""Learning algorithms: one file each, one contract (method.py), settings beside them.

Where a docstring names a "sheet", it means the notes on a paper and its released code from which
the method was written; section and item numbers are theirs. They are not in this repository.
"""
