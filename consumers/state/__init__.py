"""The state of one partition: what a checkpoint holds, and what waits for its sinks."""
