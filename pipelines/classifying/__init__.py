"""The parts of training a classifier of images."""
