"""Segment rules: conditions over features, and the segments that they define."""
