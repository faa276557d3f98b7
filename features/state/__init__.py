"""Holds the tables of one partition and updates them with records, time and emission."""
