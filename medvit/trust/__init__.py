"""How far a model may be trusted: what it knows, and whether the world still looks like that."""
