"""Scores: applying a bundle's models to feature rows, alerts and drift."""
