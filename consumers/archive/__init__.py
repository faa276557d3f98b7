"""Archives raw records in Parquet files."""
