"""The same features past one machine: Spark moves and sorts records; applying and evaluating stay those of `features`.

The rule of this folder: pyspark is imported inside functions, so that everything can be imported where it is not
installed, and no row is computed here.
"""
