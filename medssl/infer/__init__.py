"""From a trained network to labels on the scan's own grid."""
