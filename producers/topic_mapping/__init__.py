"""Maps messages of foreign topics to the records of a run, by the mappings that `import` uses for files."""
