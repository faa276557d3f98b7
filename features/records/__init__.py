"""Converts bytes or Arrow columns to valid record columns, with a reason for each rejected record."""
