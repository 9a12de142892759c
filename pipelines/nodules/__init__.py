"""The parts of training a detector of nodules in CT."""
