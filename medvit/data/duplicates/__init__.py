"""Images that show the same piece of surface: exact copies, and crops that overlap."""
