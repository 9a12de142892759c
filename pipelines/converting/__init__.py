"""The parts of a conversion: which cases, where to, and what became of each."""
