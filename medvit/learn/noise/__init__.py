"""Labels that may be wrong: how many, which, and how to learn all the same."""
