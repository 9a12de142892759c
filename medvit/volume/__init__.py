"""Volumes: lazy boxes, windows, resampling, lungs."""
