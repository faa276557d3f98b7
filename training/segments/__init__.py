"""Segments: customer table, daily counts, cohorts and pages."""
