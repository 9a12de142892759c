"""Builders of tiny data sets for the tests."""
