"""From pixels to candidates."""
