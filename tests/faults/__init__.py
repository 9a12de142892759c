"""Broken CT series, each with its truth, for any reader: numpy, pydicom and nibabel suffice."""
