"""The parts of pretraining without labels, on images and volumes."""
