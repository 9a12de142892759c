"""Where a network looked, and whether that is true."""
