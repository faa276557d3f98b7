"""The composition root: command line, settings, demo and embedded servers."""
