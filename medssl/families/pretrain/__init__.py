"""The pre-training stage of volumes: an encoder from scans without labels."""
