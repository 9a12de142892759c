"""Which cases to ask readers about, so that few labels teach most."""
