"""The parts of the gate: frozen cases, predictions, evidence and verdict."""
