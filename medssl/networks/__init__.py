"""Networks that the methods train and that MONAI lacks."""
