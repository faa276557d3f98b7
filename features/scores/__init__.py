"""Applies a bundle's models to feature rows, and detects alerts and drift."""
