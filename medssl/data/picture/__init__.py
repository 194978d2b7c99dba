"""2-D images: PNG, JPEG, BMP, TIFF and single DICOM files, grey or in colour, and their masks.

A picture is a volume [C, X, Y, 1]: X runs along its rows, Y down its columns. One of several frames
is [C, X, Y, F].
"""
