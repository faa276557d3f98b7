"""Reads the values of messages of foreign topics."""
