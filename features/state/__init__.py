"""State: the tables of one partition, and how records, time and emission change them."""
