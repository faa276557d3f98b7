"""Defines segment rules: conditions over features, and the resulting segments."""
