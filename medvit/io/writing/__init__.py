"""Volumes written to files that other programs read, each with its exact place in LPS."""
