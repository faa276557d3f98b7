"""Checkpoints: written, committed, recovered and listed."""
