"""Cleaning of an archive: declared rules, every row accounted for."""
