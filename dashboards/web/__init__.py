"""Serves the declared dashboards and their customers as a live page in a browser."""
