"""The parts of training a detector of boxes on images."""
