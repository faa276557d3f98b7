"""Maps messages of foreign topics to the source topics of a run: the role `map`."""
