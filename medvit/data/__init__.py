"""Labelled data, real and made."""
