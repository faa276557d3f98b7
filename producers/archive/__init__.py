"""The archive of raw records: Parquet files by day, read and written in order."""
