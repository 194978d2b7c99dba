"""What a folder holds that nobody has described: its layout, by the names of its files."""
