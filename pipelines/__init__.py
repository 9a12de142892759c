"""One file, one job a person can name."""
