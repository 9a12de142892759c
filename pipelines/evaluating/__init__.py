"""Measuring predictions against labels: files in, figures and a page out."""
