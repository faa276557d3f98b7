"""Records: bytes or Arrow columns to valid columns, with the reason for each record that is rejected."""
