"""Runs the work behind each command; one module per job, shared by commands, notebooks, tests and the demo."""
