"""Imports foreign logs: mappings, sessions and record columns."""
