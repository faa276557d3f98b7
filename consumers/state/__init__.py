"""Holds the state of one partition: the contents of a checkpoint, and the rows pending for its sinks."""
