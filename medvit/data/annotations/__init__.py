"""Formats in which readers' marks come: each becomes cases, patients and marks in LPS mm."""
