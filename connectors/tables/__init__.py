"""Tables of other systems: files in their formats, packings and encodings, read as batches of text columns."""
