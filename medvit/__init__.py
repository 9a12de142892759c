"""Find lung nodules in CT and defects in surface images."""

__version__ = "0.1.0"
