"""The archive of raw records: reads and writes Parquet files by day, in order."""
