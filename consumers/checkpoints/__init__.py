"""Writes, commits, recovers and lists checkpoints."""
