"""Describes segments: customer table, daily counts, cohorts and pages."""
