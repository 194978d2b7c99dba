"""The story, stage by stage: each file reads top to bottom."""
