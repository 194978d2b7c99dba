"""The kinds of work that medssl does: what differs from one to another, a folder each."""
