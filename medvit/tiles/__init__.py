"""Which part of a volume is looked at, and in what order."""
