"""Composes the application: command line, settings, demo and embedded servers."""
