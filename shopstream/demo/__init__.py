"""Runs the demo: the whole system on one machine."""
