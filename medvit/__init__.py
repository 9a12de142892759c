"""Find lung nodules in CT and defects in surface images."""
