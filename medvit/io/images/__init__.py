"""Images of surfaces, of every depth and kind."""
