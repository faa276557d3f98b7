"""Computes feature rows from records and writes them to every sink."""
