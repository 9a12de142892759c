"""Decisions of readers become labels, and labels become versions of a data set."""
