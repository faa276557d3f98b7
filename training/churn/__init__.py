"""Selects, calibrates and evaluates the churn model."""
