"""The parts of an explanation: what is explained, and each kind of case."""
