"""The archive consumer: raw records into Parquet files."""
