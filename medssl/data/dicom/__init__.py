"""DICOM series: which files are slices, the grid they form, and their values.

Only tags of position and pixels are read; nothing that names a patient leaves this package.
"""

import warnings

# What pydicom warns of is found and said by medssl itself; the warnings quote values of headers.
warnings.filterwarnings("ignore", module=r"pydicom\.")
