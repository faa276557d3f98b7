"""Cleans an archive by declared rules and accounts for every row."""
