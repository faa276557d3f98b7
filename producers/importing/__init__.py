"""Foreign logs: mappings, sessions and columns of records."""
