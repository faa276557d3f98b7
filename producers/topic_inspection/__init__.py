"""Finds out what the messages of a foreign topic are, and which mapping fits them."""
