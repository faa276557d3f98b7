"""Explores an archive in figures that each show one finding."""
