"""Scales the features beyond one machine: Spark moves and sorts records, `features` applies and evaluates them.

Rules of this folder: pyspark is imported inside functions, so that every module can be imported without it, and no row
is computed here.
"""
