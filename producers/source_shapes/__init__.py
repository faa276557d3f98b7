"""Writes records as messages of other systems: the inverse of the ready mappings of topics."""
