"""Labels as other tools write them, one format a file, read into one form."""
